//! Labels of one name from several members of a record: each keeps a name of its own.

use super::*;

fn labels(body: &str) -> String {
    attributes(&logs(body), "labels", 0)
}

#[test]
fn a_label_does_not_replace_a_field_of_the_same_name() {
    for body in [
        r#"{"message":"m","env":"prod","tags":{"env":"eu"}}"#,
        r#"{"message":"m","env":"dev","env":"prod","tags":{"env":"us","env":"eu"}}"#,
    ] {
        assert_eq!(labels(body), "env=prod:string tags.env=eu:string", "{body}");
    }
    let field_last = labels(r#"{"message":"m","tags":{"env":"eu"},"env":"prod"}"#);
    assert_eq!(field_last, "tags.env=eu:string env=prod:string");
    let no_object = labels(r#"{"message":"m","labels":{"tags":1},"tags":["a"]}"#);
    assert_eq!(no_object, "labels.tags=1:int tags=[\"a\"]:array");
}

#[test]
fn of_label_objects_the_first_has_the_bare_name() {
    let three = r#"{"message":"m","tags":{"k":1},"labels":{"k":2,"x":0},"attributes":{"k":3}}"#;
    assert_eq!(labels(three), "k=1:int labels.k=2:int x=0:int attributes.k=3:int");
    // The same member twice is one member whose last values count.
    let twice = r#"{"message":"m","tags":{"k":1,"x":1},"labels":{"k":2},"tags":{"k":3}}"#;
    assert_eq!(labels(twice), "x=1:int labels.k=2:int k=3:int");
}

#[test]
fn a_field_that_went_into_a_column_takes_no_label_s_name() {
    let row = logs(r#"{"message":"m","host":"a","x":1,"tags":{"host":"b"}}"#);
    assert_eq!(value(&row, "host", 0), "a");
    assert_eq!(attributes(&row, "labels", 0), "x=1:int host=b:string");
}

#[test]
fn a_member_called_as_a_qualified_label_keeps_its_own_value() {
    let same_object = labels(r#"{"message":"m","env":1,"tags":{"env":2,"tags.env":3}}"#);
    assert_eq!(same_object, "env=1:int tags.env=2:int tags.tags.env=3:int");
}

#[test]
fn a_label_without_a_free_name_is_named_in_a_warning() {
    let logs = builtin_table(builtin::LOGS_EVENTS);
    let body = r#"{"message":"m","ts":1700000000,"env":1,"tags":{"env":2,"x":3},"tags.env":4}"#;
    let decoded = decode(&logs, body);
    assert_eq!(attributes(&decoded.batches[0], "labels", 0), "env=1:int x=3:int tags.env=4:int");
    assert_eq!(
        decoded.warnings,
        ["labels not stored, as other members have both their names, the first of them \"tags.env\": 1"]
    );
    let refused = decode(&logs, &body.replace("1700000000", "\"soon\""));
    assert_eq!((refused.rejected.len(), refused.warnings.len()), (1, 0));
    let unfit = decode(&logs, &body.replace("\"x\":3", "\"x\":\"\\u0000\",\"y\":\"\\ud800\""));
    assert_eq!((unfit.rejected.len(), unfit.warnings.len()), (1, 0));
}

#[test]
fn the_name_in_a_warning_is_cut() {
    let key = "k".repeat(100_000);
    let body = format!(r#"{{"message":"m","{key}":1,"tags.{key}":2,"tags":{{"{key}":3}},"ts":1700000000}}"#);
    let decoded = decode(&builtin_table(builtin::LOGS_EVENTS), &body);
    assert!(decoded.warnings.iter().all(|warning| warning.len() < 2_000));
}

#[test]
fn many_labels_of_several_members_all_stay() {
    let object = |from: usize| {
        let members: Vec<String> = (from..from + 40).map(|at| format!("\"k{at}\":{at}")).collect();
        members.join(",")
    };
    let body = format!(r#"{{"message":"m",{},"tags":{{{}}}}}"#, object(0), object(20));
    let found = labels(&body);
    assert_eq!(found.split(' ').count(), 80, "{found}");
    assert_eq!(found.matches("tags.k").count(), 20, "{found}");
}

#[test]
fn metrics_of_vector_keep_fields_and_tags_of_one_name() {
    let row = good(
        &builtin_table(builtin::METRICS_EVENTS),
        r#"{"name":"n","kind":"absolute","tags":{"env":"eu"},"env":"prod","counter":{"value":1}}"#,
    );
    assert_eq!(attributes(&row, "labels", 0), "tags.env=eu:string env=prod:string");
}
