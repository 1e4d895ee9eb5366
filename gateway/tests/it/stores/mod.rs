//! Both stores: migrations, tables, rows in and out.

mod clickhouse;
mod migrations;
mod sample;
mod timescale;
