//! Table definitions beside the log.

use std::path::{Path, PathBuf};

use super::super::{DefinitionId, Definitions, DefinitionsError};
use super::simulated::SimulatedDisk;
use super::*;
use crate::registry::{StoreKind, TableDef, Tenant};
use crate::store::sample::every_type;

const DIRECTORY: &str = "/wal/definitions";

fn definitions(disk: &SimulatedDisk) -> Definitions {
    Definitions::new(Arc::new(disk.clone()), Path::new(DIRECTORY))
}

fn path(id: DefinitionId) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{id}.json"))
}

#[test]
fn an_id_that_was_given_out_survives_a_crash() {
    let table = Arc::new(every_type(StoreKind::ClickHouse));
    for seed in 0..20 {
        let disk = SimulatedDisk::with_directory("/wal");
        let id = definitions(&disk).id(&table).unwrap();
        let after = definitions(&disk.crash(seed));
        assert_eq!(*after.get(id).unwrap(), *table);
        // The same content has the same id, and need not be written again.
        assert_eq!(after.id(&Arc::new(TableDef::clone(&table))).unwrap(), id);
    }
}

#[test]
fn each_change_of_a_table_is_a_definition_of_its_own() {
    let disk = SimulatedDisk::with_directory("/wal");
    let definitions = definitions(&disk);
    let table = every_type(StoreKind::ClickHouse);
    let ids = [
        table.clone(),
        TableDef::from_spec(table.tenant.clone(), table.spec.clone(), 2).unwrap(),
        TableDef::from_spec(Tenant::new("other").unwrap(), table.spec.clone(), 1).unwrap(),
        every_type(StoreKind::Timescale),
    ]
    .map(|table| (definitions.id(&Arc::new(table.clone())).unwrap(), table));
    for (id, table) in &ids {
        assert_eq!(*definitions.get(*id).unwrap(), *table);
        assert_eq!(ids.iter().filter(|(other, _)| other == id).count(), 1);
    }
    assert_eq!(disk.names(Path::new(DIRECTORY)).len(), 4);
    // A table that was registered again without a change.
    assert_eq!(definitions.id(&Arc::new(table)).unwrap(), ids[0].0);
    assert_eq!(disk.names(Path::new(DIRECTORY)).len(), 4);
}

#[test]
fn a_file_that_is_gone_or_changed_is_named() {
    let disk = SimulatedDisk::with_directory("/wal");
    let id = definitions(&disk).id(&Arc::new(every_type(StoreKind::ClickHouse))).unwrap();
    disk.tamper(&path(id), |content| {
        *content = String::from_utf8_lossy(content).replace("bigint", "text").into()
    });
    let error = definitions(&disk).get(id).unwrap_err();
    assert!(matches!(error, DefinitionsError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    disk.remove(&path(id)).unwrap();
    let error = definitions(&disk).get(id).unwrap_err();
    assert!(matches!(error, DefinitionsError::Missing { .. }), "{error}");
}

#[test]
fn no_id_without_a_durable_file() {
    for fault in [
        |disk: &SimulatedDisk| disk.faults(|faults| faults.syncs = 1),
        |disk: &SimulatedDisk| disk.faults(|faults| faults.directory_syncs = 1),
        |disk: &SimulatedDisk| disk.faults(|faults| faults.read_only = true),
        |disk: &SimulatedDisk| disk.faults(|faults| faults.writes = 1),
    ] {
        let disk = SimulatedDisk::with_directory("/wal");
        fault(&disk);
        let definitions = definitions(&disk);
        let table = Arc::new(every_type(StoreKind::ClickHouse));
        let error = definitions.id(&table).unwrap_err();
        assert!(matches!(error, DefinitionsError::Io { .. }), "{error}");
        disk.faults(|faults| *faults = Default::default());
        let id = definitions.id(&table).unwrap();
        assert_eq!(*definitions.get(id).unwrap(), *table);
        self::definitions(&disk.crash(0)).get(id).unwrap();
    }
}
