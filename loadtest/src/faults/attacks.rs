//! What nobody should send: requests and connections that try to use up a gateway.

mod bodies;
mod connections;

use anyhow::Result;

use super::client::Address;

/// Attacks that go on until they are dropped.
#[derive(Debug, Default)]
pub(super) struct Attacks {
    running: tokio::task::JoinSet<()>,
}

impl Attacks {
    /// Slow senders, one stream of begun and broken off requests, and every hostile body over and over.
    pub(super) fn start(address: Address, slow_senders: u32) -> Result<Self> {
        let mut running = tokio::task::JoinSet::new();
        for number in 0..slow_senders {
            running.spawn(connections::send_slowly(address.http, number));
        }
        running.spawn(connections::begin_and_reset(address.grpc));
        running.spawn(bodies::send_all(address.http, bodies::all()?));
        Ok(Self { running })
    }

    /// Those that still go on.
    pub(super) fn running(&mut self) -> usize {
        while self.running.try_join_next().is_some() {}
        self.running.len()
    }
}

/// Sends each hostile body once, and says which were taken for good ones or not answered.
pub(super) async fn accepted(address: Address) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for body in bodies::all()? {
        let name = body.name;
        match bodies::send(address.http, &body).await {
            Ok(status) if status.is_client_error() => {}
            Ok(status) => wrong.push(format!("{name} is answered with {status}")),
            Err(error) => wrong.push(format!("{name} is not answered: {error:#}")),
        }
    }
    Ok(wrong)
}
