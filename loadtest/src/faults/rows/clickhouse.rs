//! 23, 26, 27, 28: what ClickHouse answers, or does not.

use std::time::Duration;

use anyhow::Result;

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::proxy::{Deed, Moment};
use super::super::record::Kind;
use super::super::world::World;

/// Longest wait for a moment of the protocol.
const PATIENCE: Duration = Duration::from_secs(20);

/// Refusals that pass: code, name, text.
const PASSING: [(u32, &str, &str); 4] = [
    (252, "TOO_MANY_PARTS", "Too many parts (300). Merges are processing significantly slower than inserts"),
    (241, "MEMORY_LIMIT_EXCEEDED", "Memory limit (total) exceeded: would use 1.00 GiB"),
    (159, "TIMEOUT_EXCEEDED", "Timeout exceeded: elapsed 30.1 seconds, maximum: 30"),
    (164, "READONLY", "Cannot execute query in readonly mode"),
];

/// 23: ClickHouse has stored an INSERT and dies before it can say so.
pub(super) async fn dies_after_commit(world: &World) -> Result<Outcome> {
    let times = world.times(8, 2);
    let bout = Bout::begin(world, &[]).await?;
    let proxy = &world.clickhouse;
    for _ in 0..times {
        let before = proxy.sprung();
        proxy.lie_in_wait(Moment::Insert, Deed::SilenceAfter, 1);
        proxy.wait_until_sprung(before + 1, PATIENCE).await?;
        world.stores.kill(Kind::Log).await?;
        world.stores.up_one(Kind::Log).await?;
        bout.more(&Kind::ALL, 30).await?;
    }
    bout.finish(times).await
}

/// 26: the answer begins as a success and has an exception in it, or ends in the middle.
pub(super) async fn exception_in_body(world: &World) -> Result<Outcome> {
    let answer = |headers: &str, body: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n";
        format!("{head}{headers}\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    let text = "Code: 241. DB::Exception: Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)";
    // As official releases write it, as other builds do, and as newer releases mark it.
    let official = answer("", &format!("{text} (version 24.4.1.2088 (official build))\n"));
    let other = answer("", &format!("{text} (version 26.5.1.1)\n"));
    let tag = "X-ClickHouse-Exception-Tag: faultsfaultsfaul\r\n";
    let message = format!("{text} (version 26.5.1.1 (official build))\n");
    let marked = format!(
        "\r\n__exception__\r\nfaultsfaultsfaul\r\n{message}{} faultsfaultsfaul\r\n__exception__\r\n",
        message.len()
    );
    let marked = answer(tag, &marked);
    let begun =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let truncated = format!("{begun}ff\r\nCode: 2");
    let mut deeds = vec![Deed::CutAfter, Deed::CutWithin, Deed::CutBefore];
    for answer in [official, marked, other, begun, truncated] {
        deeds.push(Deed::AnswerAfter(answer.clone()));
        deeds.push(Deed::AnswerInstead(answer));
    }
    in_turn(world, &deeds, 1).await
}

/// 27: refusals that pass, before the INSERT was looked at and after it was done.
pub(super) async fn refuses(world: &World) -> Result<Outcome> {
    let answers = PASSING.map(|(code, name, text)| {
        let body = format!("Code: {code}. DB::Exception: {text}. ({name}) (version 26.5.1.1)\n");
        format!(
            "HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: {code}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let deeds: Vec<Deed> = answers
        .into_iter()
        .flat_map(|answer| [Deed::AnswerInstead(answer.clone()), Deed::AnswerAfter(answer)])
        .collect();
    in_turn(world, &deeds, 3).await
}

/// 28: an INSERT arrives after the gateway has stopped waiting for it and has sent it again.
pub(super) async fn slow_insert(world: &World) -> Result<Outcome> {
    let deed = [Deed::Hold(Duration::from_millis(4_500)), Deed::Hold(Duration::from_millis(3_050))];
    in_turn(world, &deed, 1).await
}

/// Meets `each` INSERTs with every deed. In every other round it waits until the one before is over, so that the first
/// attempt of a cut is met; else often a repetition is.
async fn in_turn(world: &World, deeds: &[Deed], each: u32) -> Result<Outcome> {
    let rounds = world.times(3, 1);
    let mut bout = Bout::begin(world, &[]).await?;
    let proxy = &world.clickhouse;
    let mut runs = 0;
    for round in 0..rounds {
        for deed in deeds {
            let before = proxy.sprung();
            proxy.lie_in_wait(Moment::Insert, deed.clone(), each);
            proxy.wait_until_sprung(before + each, PATIENCE).await?;
            runs += each;
            if round % 2 == 0 {
                bout.fresh_arrives(Kind::Log, PATIENCE).await?;
            }
            bout.more(&[Kind::Log], 20).await?;
        }
    }
    bout.finish(runs).await
}
