//! A real `clickhouse` binary in place of the engine.

use crate::server::{command, free_port};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Scenario: a `clickhouse` is on the PATH, here a script that shows how it is called.
/// Guarantees: it becomes the process, with the same address and data folder and one user without a password.
/// A library that is named by hand wins over it.
#[test]
fn a_binary_on_the_path_takes_over_with_the_same_address_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (binaries, data) = (folder.path().join("bin"), folder.path().join("data & more"));
    std::fs::create_dir(&binaries).unwrap();
    let binary = binaries.join("clickhouse");
    std::fs::write(
        &binary,
        "#!/bin/sh\necho \"$$ $1 $2\"\nwhile read -r line; do echo \"$line\"; done < \"$3\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port();
    let mut command = command(&data, port);
    command
        .env("PATH", &binaries)
        .env_remove("EMBEDDED_STORES_CHDB_LIBRARY")
        .stdout(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("{id} server --config-file\n")), "{text}");
    let path = data.canonicalize().unwrap().display().to_string().replace('&', "&amp;");
    for setting in [
        "<listen_host>127.0.0.1</listen_host>".to_owned(),
        format!("<http_port>{port}</http_port>"),
        format!("<path>{path}/</path>"),
        "<timezone>UTC</timezone>".to_owned(),
        "<password/>".to_owned(),
    ] {
        assert!(text.contains(&setting), "{setting}: {text}");
    }
    command.args(["--library", "/nonexistent/libchdb.so"]).stderr(std::process::Stdio::piped());
    let refused = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(refused.contains("/nonexistent/libchdb.so is missing"), "{refused}");
    assert!(Path::new(&data).join("server.xml").is_file());
}
