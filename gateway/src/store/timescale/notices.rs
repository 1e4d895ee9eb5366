//! Notices of the registry: `NOTIFY tidewell_registry` of any gateway in, a wake-up of this one out.
//!
//! A notice may be lost with its connection, and a pooler between here and Postgres may pass on none: whoever waits looks
//! for himself now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Config as PostgresConfig, Connection, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::error::{from_postgres, unavailable};
use super::pool::{self, Purpose};
use crate::config::TimescaleConfig;
use crate::store::{StoreError, tls};

/// How long to wait before listening again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Where to listen.
#[derive(Debug, Clone)]
pub struct RegistryNotices {
    config: TimescaleConfig,
}

impl RegistryNotices {
    /// The notices of the database that the settings name.
    pub fn new(config: &TimescaleConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Wakes `heard` at every notice, and once for each connection, since one may have been missed before it. Ends with
    /// `stop`.
    pub async fn listen(&self, heard: Arc<Notify>, stop: CancellationToken) {
        loop {
            let ended = tokio::select! {
                ended = self.listen_once(&heard) => ended,
                () = stop.cancelled() => return,
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "no notices of the registry, will listen again");
            }
            tokio::select! {
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn listen_once(&self, heard: &Arc<Notify>) -> Result<(), StoreError> {
        let (postgres, is_encrypted) = pool::settings(&self.config, Purpose::Ddl)?;
        if is_encrypted {
            let tls = tls::client_config("timescale.ca_file", self.config.ca_file.as_deref());
            follow(&postgres, MakeRustlsConnect::new(tls.map_err(unavailable)?), heard).await
        } else {
            follow(&postgres, NoTls, heard).await
        }
    }
}

async fn follow<T>(postgres: &PostgresConfig, tls: T, heard: &Arc<Notify>) -> Result<(), StoreError>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static>,
{
    let (client, connection) = postgres.connect(tls).await.map_err(|error| from_postgres(&error))?;
    let following = pump(connection, heard);
    let asking = async {
        client.batch_execute("LISTEN tidewell_registry").await.map_err(|error| from_postgres(&error))?;
        heard.notify_one();
        // The connection ends when the client is gone.
        std::future::pending::<Result<(), StoreError>>().await
    };
    tokio::select! {
        ended = following => ended,
        failed = asking => failed,
    }
}

/// Runs the connection until it breaks.
async fn pump<S, T>(mut connection: Connection<S, T>, heard: &Notify) -> Result<(), StoreError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            None => return Ok(()),
            Some(Ok(AsyncMessage::Notification(_))) => heard.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(from_postgres(&error)),
        }
    }
}
