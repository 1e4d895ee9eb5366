use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOk";
const INSERT: &str =
    "POST /?query=INSERT%20INTO HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
const SELECT: &str = "POST /?query=SELECT HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz";

/// A server that answers every complete request and keeps what it got.
async fn server() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&got);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(read) = client.read(&mut buffer).await
                    && read > 0
                {
                    let text = {
                        let mut kept = kept.lock().unwrap();
                        kept.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
                        kept.clone()
                    };
                    if text.ends_with("0\r\n\r\n") || text.ends_with("xyz") {
                        client.write_all(ANSWER).await.unwrap();
                    }
                }
            });
        }
    });
    (address, got)
}

/// What a client gets for a request until the connection is cut or 300 ms are over; none for a cut without a word.
async fn ask(proxy: &Proxy, request: &str) -> Option<String> {
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    client.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let whole = tokio::time::timeout(Duration::from_millis(300), client.read_to_end(&mut answer)).await;
    let text = String::from_utf8(answer).unwrap();
    match whole {
        Ok(_) if text.is_empty() => None,
        Ok(_) => Some(text),
        Err(_) => Some(format!("{text}...")),
    }
}

async fn proxied() -> (Proxy, Arc<Mutex<String>>) {
    let (address, got) = server().await;
    (Proxy::start(Wire::ClickHouse, address).await.unwrap(), got)
}

#[tokio::test]
async fn what_is_no_moment_passes_as_it_is() {
    let (proxy, got) = proxied().await;
    proxy.lie_in_wait(Moment::Commit, Deed::CutBefore, 9);
    let answer = String::from_utf8(ANSWER.to_vec()).unwrap() + "...";
    assert_eq!(ask(&proxy, INSERT).await, Some(answer.clone()));
    proxy.lie_in_wait(Moment::Insert, Deed::CutBefore, 9);
    assert_eq!(ask(&proxy, SELECT).await, Some(answer));
    assert_eq!(*got.lock().unwrap(), format!("{INSERT}{SELECT}"));
    assert_eq!(proxy.sprung(), 0);
}

#[tokio::test]
async fn each_deed_does_what_it_says() {
    let said = || Deed::AnswerInstead("HTTP/1.1 500 no\r\n\r\n".to_owned());
    let after = || Deed::AnswerAfter("HTTP/1.1 200 half".to_owned());
    let silence = || Some("...".to_owned());
    for (deed, passed_on, answered) in [
        (Deed::CutBefore, false, None),
        (Deed::SilenceBefore, false, silence()),
        (Deed::CutAfter, true, None),
        (Deed::SilenceAfter, true, silence()),
        (said(), false, Some("HTTP/1.1 500 no\r\n\r\n".to_owned())),
        (after(), true, Some("HTTP/1.1 200 half".to_owned())),
    ] {
        let (proxy, got) = proxied().await;
        proxy.lie_in_wait(Moment::Insert, deed.clone(), 1);
        assert_eq!(ask(&proxy, INSERT).await, answered, "{deed:?}");
        assert_eq!(*got.lock().unwrap() == INSERT, passed_on, "{deed:?}");
        assert_eq!(proxy.sprung(), 1);
        // Only so many times.
        assert!(ask(&proxy, INSERT).await.is_some_and(|answer| answer.ends_with("Ok...")), "{deed:?}");
    }
}

#[tokio::test]
async fn a_cut_within_passes_a_part_on() {
    let (proxy, got) = proxied().await;
    proxy.lie_in_wait(Moment::Insert, Deed::CutWithin, 1);
    assert_eq!(ask(&proxy, INSERT).await, None);
    proxy.wait_until_sprung(1, Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = got.lock().unwrap().clone();
    assert!(INSERT.starts_with(&got) && got.len() < INSERT.len() && got.contains("\r\n\r\n"), "{got}");
}

#[tokio::test]
async fn a_held_request_arrives_after_its_client_has_left() {
    let (proxy, got) = proxied().await;
    proxy.lie_in_wait(Moment::Insert, Deed::Hold(Duration::from_millis(500)), 1);
    assert_eq!(ask(&proxy, INSERT).await, Some("...".to_owned()));
    assert_eq!(*got.lock().unwrap(), "");
    proxy.wait_until_sprung(1, Duration::from_secs(2)).await.unwrap();
    assert_eq!(*got.lock().unwrap(), INSERT);
}

#[tokio::test]
async fn the_passage_holds_for_all_connections() {
    let (proxy, got) = proxied().await;
    proxy.set(Passage::Closed);
    assert_eq!(ask(&proxy, SELECT).await, None);
    proxy.set(Passage::Silent);
    assert_eq!(ask(&proxy, SELECT).await, Some("...".to_owned()));
    assert_eq!(*got.lock().unwrap(), "");
    proxy.set(Passage::Slow(Duration::from_millis(60)));
    let begin = Instant::now();
    assert!(ask(&proxy, SELECT).await.is_some_and(|answer| answer.contains("Ok")));
    assert!(begin.elapsed() >= Duration::from_millis(120));
    proxy.set(Passage::Open);
    assert!(ask(&proxy, SELECT).await.is_some_and(|answer| answer.contains("Ok")));
}
