//! Both stores: migrations, tables, rows in and out.

mod migrations;
