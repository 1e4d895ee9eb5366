use super::*;

fn part<'a>(text: &'a str, range: &Range<usize>) -> &'a str {
    text.get(range.clone()).unwrap()
}

fn insert(text: &str) -> Insert {
    match recognise(text.as_bytes()) {
        Statement::Insert(insert) => insert,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_result_of_a_select_can_be_redirected_before_its_format() {
    for (text, before, name) in [
        ("SELECT 1", "SELECT 1", None),
        ("SELECT 1 ; ;", "SELECT 1", None),
        ("SELECT 1 FORMAT JSON", "SELECT 1 ", Some("JSON")),
        ("(SELECT 1) format CSV SETTINGS max_threads = 1", "(SELECT 1) ", Some("CSV")),
        ("SELECT 1 SETTINGS max_threads = 1 -- end", "SELECT 1 SETTINGS max_threads = 1", None),
        ("WITH 1 AS x SELECT x AS format", "WITH 1 AS x SELECT x AS format", None),
        ("SELECT format FROM t", "SELECT format FROM t", None),
        ("FROM t SELECT 'FORMAT x;'", "FROM t SELECT 'FORMAT x;'", None),
    ] {
        let Statement::Select { outfile_at, format } = recognise(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(text.split_at(outfile_at).0, before, "{text}");
        assert_eq!(format.map(|range| part(text, &range)), name, "{text}");
    }
}

#[test]
fn the_data_of_an_insert_starts_behind_its_format() {
    for (text, head, data) in [
        ("INSERT INTO t FORMAT CSV\n1,2", "INSERT INTO t", "1,2"),
        ("INSERT INTO t FORMAT CSV  1,2", "INSERT INTO t", "1,2"),
        ("INSERT INTO t FORMAT CSV \r\n\n1", "INSERT INTO t", "\n1"),
        ("INSERT INTO t VALUES (1);(2", "INSERT INTO t", " (1);(2"),
        ("insert into db . t (a, `b)`) values(1)", "insert into db . t (a, `b)`)", "(1)"),
        ("INSERT INTO TABLE values (format) VALUES (1)", "INSERT INTO TABLE values (format)", " (1)"),
        ("INSERT INTO format FORMAT JSONEachRow {}", "INSERT INTO format", "{}"),
        ("INSERT t(a) SETTINGS async_insert=0, x='y' FORMAT TSV\n1", "INSERT t(a)", "1"),
        ("INSERT INTO t FORMAT TSV SETTINGS a=1, b='FORMAT'\n1", "INSERT INTO t", "1"),
        ("INSERT INTO FUNCTION file('x', 'CSV') FORMAT CSV 1", "INSERT INTO FUNCTION file('x', 'CSV')", "1"),
        (
            "INSERT INTO {db:Identifier}.{t:Identifier} FORMAT X\n",
            "INSERT INTO {db:Identifier}.{t:Identifier}",
            "",
        ),
        ("/* c */ INSERT INTO t -- FORMAT Y\n FORMAT X z", "/* c */ INSERT INTO t", "z"),
    ] {
        let found = insert(text);
        assert_eq!(text.split_at(found.infile_at).0, head, "{text}");
        assert_eq!(text.split_at(found.data_at).1, data, "{text}");
    }
}

#[test]
fn data_may_go_through_a_select_that_names_its_structure() {
    let text = "INSERT INTO t SELECT lower(a) FROM input('a String') FORMAT CSV\nX";
    let found = insert(text);
    let input = found.input_function.unwrap();
    assert_eq!(part(text, &input.call), "input('a String')");
    assert_eq!(part(text, &input.structure), "'a String'");
    assert_eq!(part(text, &found.format_clause), "FORMAT CSV");
    assert_eq!(text.split_at(found.data_at).1, "X");
}

#[test]
fn what_brings_no_data_is_left_to_the_engine() {
    for text in [
        "INSERT INTO t SELECT 1",
        "INSERT INTO t SELECT values FROM x",
        "INSERT INTO t",
        "INSERT",
        "CREATE TABLE t",
    ] {
        assert_eq!(recognise(text.as_bytes()), Statement::Other { format: None }, "{text}");
    }
    let shown = "SHOW TABLES FORMAT JSON";
    assert_eq!(recognise(shown.as_bytes()), Statement::Other { format: Some(19..23) });
}

#[test]
fn a_second_statement_is_seen_and_a_semicolon_in_quotes_is_not() {
    assert_eq!(recognise(b"SELECT 1; SELECT 2"), Statement::Multiple { at: 10 });
    assert_eq!(recognise(b"CREATE TABLE t; -- x\n; DROP TABLE t"), Statement::Multiple { at: 23 });
    assert!(matches!(recognise(b"SELECT ';' /*;*/ ; -- ;"), Statement::Select { .. }));
}

#[test]
fn nothing_is_no_statement() {
    for text in ["", " \n", ";;", "-- only a comment"] {
        assert_eq!(recognise(text.as_bytes()), Statement::Empty, "{text}");
    }
}

#[test]
fn files_of_the_client_are_refused() {
    assert_eq!(recognise(b"SELECT 1 INTO OUTFILE 'x'"), Statement::IntoOutfile);
    assert_eq!(recognise(b"INSERT INTO t FROM INFILE 'x' FORMAT CSV"), Statement::FromInfile);
}

#[test]
fn a_kill_names_its_condition_and_how_it_waits() {
    for (text, condition, mode) in [
        ("KILL QUERY WHERE query_id = 'x' SYNC", "query_id = 'x'", KillMode::Sync),
        ("kill query where 1 async format JSON", "1", KillMode::Async),
        ("KILL QUERY WHERE user='a' AND 1 TEST;", "user='a' AND 1", KillMode::Test),
        ("KILL QUERY WHERE query_id = 'x'", "query_id = 'x'", KillMode::Async),
    ] {
        let Statement::KillQuery(kill) = recognise(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(part(text, &kill.condition), condition);
        assert_eq!(kill.mode, mode);
    }
    assert_eq!(recognise(b"KILL MUTATION WHERE 1"), Statement::Other { format: None });
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_recognised_as_something(words in proptest::collection::vec(
        proptest::sample::select(vec!["INSERT", "INTO", "t", "(", ")", "FORMAT", "VALUES", "SELECT", "SETTINGS", "=", ",", "'", "input",
            "KILL", "QUERY", "WHERE", "SYNC", ";", "{", "}", "\n", "1", "WITH", "INFILE", "OUTFILE"]), 0..20)) {
        let text = words.join(" ");
        match recognise(text.as_bytes()) {
            Statement::Insert(insert) => {
                proptest::prop_assert!(insert.infile_at <= insert.format_clause.start);
                proptest::prop_assert!(insert.format_clause.end <= insert.data_at && insert.data_at <= text.len());
            }
            Statement::Select { outfile_at, .. } => proptest::prop_assert!(outfile_at <= text.len()),
            _ => {}
        }
    }
}
