//! Both stores: migrations, tables, rows in and out.

mod clickhouse;
mod migrations;
mod roles;
mod sample;
mod timescale;
