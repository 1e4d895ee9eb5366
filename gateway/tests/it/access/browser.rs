//! What a browser brings along: name and key with every request, and requests that other sites make it send.

use reqwest::{Method, Response, StatusCode};
use serde_json::json;

use super::{CallersFile, caller, key_of};
use crate::harness::TestGateway;

async fn sent(gateway: &TestGateway, method: Method, path: &str, name: &str, site: Option<&str>) -> Response {
    let mut request = gateway.request(method, path).basic_auth(name, Some(key_of(name)));
    if let Some(site) = site {
        request = request.header("sec-fetch-site", site);
    }
    request.send().await.unwrap()
}

/// Scenario: a record is refused; nobody, an observer and an administrator open the status page; a page of another site makes
/// the administrator's browser replay dead letters.
/// Guarantees: nobody is asked for name and key; the observer sees how many letters wait and the administrator why as well;
/// the other site gets nothing done.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_to_each_reader_what_is_theirs() {
    let callers = [
        caller("observer", "scopes = [\"observe\"]"),
        caller("chief", "scopes = [\"observe\", \"admin\", \"write\"]"),
    ];
    let gateway = CallersFile::new(&callers.concat()).start().await;
    let refused = gateway.request(Method::POST, "/write/logs").basic_auth("chief", Some(key_of("chief")));
    let refused =
        refused.header("tidewell-ack", "stored").json(&json!({"time": "yesterday", "message": "x"}));
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::BAD_REQUEST);

    let answer = gateway.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));

    let page = sent(&gateway, Method::GET, "/", "observer", None).await.text().await.unwrap();
    assert!(page.contains("for callers with scope admin") && !page.contains("is not a timestamp"), "{page}");
    let mut reasons = String::new();
    // The letter is delivered to its table in a moment.
    for _ in 0..50 {
        reasons = sent(&gateway, Method::GET, "/", "chief", None).await.text().await.unwrap();
        if reasons.contains("is not a timestamp") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(
        reasons.contains("is not a timestamp") && reasons.contains("data-replay=\"logs_events\""),
        "{reasons}"
    );

    let replay = "/dead-letters/replay?target=logs_events";
    for site in ["cross-site", "same-site"] {
        let answer = sent(&gateway, Method::POST, replay, "chief", Some(site)).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{site}");
    }
    for site in [Some("same-origin"), None] {
        assert_eq!(
            sent(&gateway, Method::POST, replay, "chief", site).await.status(),
            StatusCode::OK,
            "{site:?}"
        );
    }
    gateway.stop().await;
}
