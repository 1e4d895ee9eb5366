//! Each rule with a configuration that breaks it, and the one beside it that does not.

use super::*;
use crate::config::{JwtConfig, Secret};

/// The problems of the default configuration after a change, as `setting: reason` lines.
fn after(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = Config::default();
    change(&mut config);
    problems(&config).into_iter().map(|(setting, reason)| format!("{setting}: {reason}")).collect()
}

/// Asserts that exactly one problem is found and that it is about `setting`.
fn refused(setting: &str, change: impl FnOnce(&mut Config)) -> String {
    let found = after(change);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{setting}: ")), "{found:?}");
    found[0].clone()
}

#[test]
fn the_default_has_no_problem() {
    assert_eq!(after(|_| {}), Vec::<String>::new());
}

#[test]
fn two_listeners_do_not_share_a_port() {
    refused("grpc.listen", |config| config.grpc.listen = config.http.listen);
    refused("grpc.listen", |config| {
        config.auth.allow_unauthenticated = true;
        config.grpc.listen = "0.0.0.0:4318".parse().unwrap();
    });
    assert!(after(|config| config.grpc.listen = "127.0.0.2:4318".parse().unwrap()).is_empty());
    let any = "127.0.0.1:0".parse().unwrap();
    assert!(after(|config| (config.http.listen, config.grpc.listen) = (any, any)).is_empty());
}

#[test]
fn administration_has_a_port_of_its_own() {
    refused("admin.listen", |config| config.admin.listen = Some(config.grpc.listen));
    refused("admin.listen", |config| config.admin.listen = Some("0.0.0.0:9".parse().unwrap()));
    assert!(after(|config| config.admin.listen = Some("127.0.0.1:9".parse().unwrap())).is_empty());
}

#[test]
fn callers_and_certificates_are_whole() {
    let path = || Some("file".into());
    refused("auth.jwt.key_set_file", |config| {
        config.auth.jwt =
            JwtConfig { key_set_file: path(), issuer: "i".to_owned(), audience: "a".to_owned() };
    });
    refused("auth.jwt.audience", |config| {
        config.auth.callers_file = path();
        config.auth.jwt = JwtConfig { key_set_file: path(), issuer: "i".to_owned(), audience: String::new() };
    });
    refused("tls.key_file", |config| config.tls.certificate_file = path());
    refused("tls.certificate_file", |config| config.tls.key_file = path());
    refused("tls.client_ca_file", |config| config.tls.client_ca_file = path());
    refused("tls.client_certificates", |config| {
        (config.tls.certificate_file, config.tls.key_file) = (path(), path());
        config.tls.client_certificates = ClientCertificates::Required;
    });
    assert!(
        after(|config| {
            config.auth.callers_file = path();
            config.http.listen = "0.0.0.0:9".parse().unwrap();
        })
        .is_empty()
    );
}

#[test]
fn listeners_off_the_machine_need_a_word() {
    for address in ["0.0.0.0:9", "[::]:9", "10.0.0.1:9", "[::ffff:10.0.0.1]:9"] {
        let open = |config: &mut Config| config.http.listen = address.parse().unwrap();
        assert!(refused("http.listen", open).contains("auth.allow_unauthenticated = true"));
        assert!(
            after(|config| {
                open(config);
                config.auth.allow_unauthenticated = true;
            })
            .is_empty()
        );
    }
    for address in ["127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
        assert!(after(|config| config.http.listen = address.parse().unwrap()).is_empty());
    }
}

#[test]
fn a_log_has_room_for_several_segments() {
    let small = refused("wal.dead_letters_max_bytes", |config| config.wal.dead_letters_max_bytes = 1 << 27);
    assert!(small.contains("4 segments of 67108864 bytes"), "{small}");
    assert!(after(|config| config.wal.dead_letters_max_bytes = 1 << 28).is_empty());
    refused("wal.directory", |config| config.wal.directory = std::path::PathBuf::new());
}

#[test]
fn limits_fit_together() {
    refused("ingest.in_flight_bytes", |config| {
        config.ingest.in_flight_bytes = config.ingest.max_decoded_bytes
    });
    refused("timescale.batch.max_age_ms", |config| config.timescale.batch.max_age_ms = 4_000);
    refused("timescale.pool_size", |config| config.timescale.pool_size = config.timescale.batch.writers);
}

#[test]
fn addresses_of_stores_are_whole() {
    for url in [
        "",
        "host=db",
        "http://db",
        "postgres://",
        "postgres://db/x",
        "postgres://u@db",
        "postgres://u@db:port/x",
    ] {
        refused("timescale.url", |config| config.timescale.url = Secret::new(url));
    }
    refused("timescale.url", |config| config.timescale.ca_file = Some("ca.pem".into()));
    refused("timescale.password", |config| {
        config.timescale.url = Secret::new("postgres://u:p@db/x");
        config.timescale.password = Secret::new("q");
    });
    for url in ["", "127.0.0.1:8123", "tcp://db:9000", "http://u:p@db", "http://db/?a=b", "http://"] {
        refused("clickhouse.url", |config| config.clickhouse.url = url.to_owned());
    }
    refused("clickhouse.url", |config| config.clickhouse.ca_file = Some("ca.pem".into()));
    assert!(after(|config| config.clickhouse.url = "https://db:8443".to_owned()).is_empty());
    refused("clickhouse.database", |config| config.clickhouse.database = "a b".to_owned());
    refused("clickhouse.user", |config| config.clickhouse.user = String::new());
    refused("timescale.ddl_role", |config| config.timescale.ddl_role = "a\"b".to_owned());
}

#[test]
fn a_misspelt_level_is_not_taken_for_a_module() {
    for level in ["inof", "", "info,", "warning", "info,tidewell_gateway", "a=b=c", "x=loud"] {
        refused("log.level", |config| config.log.level = level.to_owned());
    }
    for level in ["info", "WARN", "off", "info,tidewell_gateway=debug", "warn, h2=error"] {
        assert_eq!(after(|config| config.log.level = level.to_owned()), Vec::<String>::new());
    }
}
