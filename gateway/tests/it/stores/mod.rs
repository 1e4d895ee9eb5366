//! Both stores: migrations, tables, rows in and out.

mod claims;
mod clickhouse;
mod clickhouse_faults;
mod migrations;
mod roles;
pub(crate) mod sample;
mod timescale;
mod timescale_faults;
mod views;
