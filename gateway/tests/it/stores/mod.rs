//! Both stores: migrations, tables, rows in and out.

mod migrations;
mod sample;
mod timescale;
