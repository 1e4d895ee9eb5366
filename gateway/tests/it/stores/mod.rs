//! Both stores: migrations, tables, rows in and out.

mod clickhouse;
mod clickhouse_faults;
mod migrations;
mod roles;
mod sample;
mod timescale;
