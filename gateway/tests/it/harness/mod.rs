//! What the integration tests share.

pub(crate) mod clickhouse_proxy;
pub(crate) mod database;
pub(crate) mod gateway;
pub(crate) mod postgres_proxy;
pub(crate) mod postgres_statements;
pub(crate) mod proxy;
pub(crate) mod python;

pub(crate) use gateway::TestGateway;
