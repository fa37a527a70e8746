//! Texts with fields, and what is wrong with some.

use super::super::Paint;
use super::*;
use serde_json::json;

fn row() -> Row {
    Row {
        fields: json!({
            "Name": "shop-web-1",
            "State": "running",
            "ExitCode": 0,
            "CreatedAt": "today",
            "Networks": "front,back",
            "Health": null,
            "Publishers": [
                {"URL": "::", "PublishedPort": 80},
                {"URL": "127.0.0.1", "PublishedPort": 81},
            ],
        }),
        labels: Some([("tier".to_owned(), json!("back"))].into_iter().collect()),
    }
}

const UI: Ui = Ui {
    out: Paint(false),
    err: Paint(false),
    live: false,
    width: 80,
};

fn shown(text: &str) -> String {
    let form = Form::parse(text, &row()).unwrap();
    form.fill(UI, &[row()], false).unwrap().unwrap()
}

#[test]
fn fields_and_functions() {
    for (text, wanted) in [
        ("{{.Name}}: {{ .State }}", "shop-web-1: running"),
        ("{{.Name}}\\t{{.ExitCode}}", "shop-web-1\t0"),
        ("{{printf \"%s\\t%s\" .Name .State}}", "shop-web-1\trunning"),
        ("{{print \"a\tb\" `\\t` \"\\\\\" \"\\\"\"}}", "a\tb\\t\\\""),
        ("a\\n{{- .State}}", "arunning"),
        ("{{json .Name}}", "\"shop-web-1\""),
        ("{{json .Health}}|{{.Health}}|", "null||"),
        (
            "{{.State | upper | printf \"%-9s|%q\" \"a\"}}",
            "a        |\"RUNNING\"",
        ),
        ("{{title .State}} {{len .Publishers}}", "Running 2"),
        (
            "{{join (split .Networks \",\") \" and \"}}",
            "front and back",
        ),
        ("{{truncate .Name 4}}{{pad .State 1 2}}.", "shop running  ."),
        ("{{.Label \"tier\"}}{{.Label \"none\"}}", "back"),
        ("{{index .Publishers 1 \"URL\"}}", "127.0.0.1"),
        (
            "{{range .Publishers}}{{.PublishedPort}} of {{$.Name}};{{end}}",
            "80 of shop-web-1;81 of shop-web-1;",
        ),
        ("{{if eq .State \"running\"}}up{{else}}down{{end}}", "up"),
        (
            "{{if .ExitCode}}bad{{else if not .Health}}fine{{else}}?{{end}}",
            "fine",
        ),
        (
            "{{with .Name}}{{.}}{{end}}{{range .Health}}x{{else}}none{{end}}",
            "shop-web-1none",
        ),
        (
            "{{lt .ExitCode 1}} {{ge 10 9.5}} {{gt \"b\" .State}} {{le .Health \"\"}}",
            "true true false true",
        ),
        ("a {{- /* quiet */ -}} b{{`}}`}}", "ab}}"),
    ] {
        assert_eq!(shown(text), format!("{wanted}\n"), "{text}");
    }
}

#[test]
fn a_table_has_a_head() {
    assert_eq!(
        shown("table {{.Name}}\\t{{.CreatedAt}}\\t{{upper .State}}"),
        "NAME         CREATED AT   STATE\nshop-web-1   today        RUNNING\n"
    );
}

#[test]
fn heads_are_names_whatever_is_done_with_the_fields() {
    for (text, wanted) in [
        ("{{json .CreatedAt}}", "CREATED AT"),
        ("{{.State | lower}}/{{title .Name}}", "STATE/NAME"),
        ("{{join (split .Networks \",\") \" \"}}", "NETWORKS"),
        ("{{truncate .CreatedAt 3}}", "CREATED AT"),
        ("x{{pad .Name 1 2}}x", "x NAME  x"),
        ("{{.Label \"com.example.my-tier\"}}", "my tier"),
        ("{{range .Publishers}}{{.URL}} {{end}}", "PUBLISHERS"),
        ("{{index .Publishers 0 \"URL\"}}", "PUBLISHERS"),
        ("{{with .Name}}{{upper .}}{{end}}", "NAME"),
        ("{{if .Health}}{{.Health}}{{else}}-{{end}}", "HEALTH"),
        ("{{len .Publishers}}", "PUBLISHERS"),
        ("{{printf \"%s (%s)\" .Name .ExitCode}}", "NAME (EXIT CODE)"),
    ] {
        let shown = shown(&format!("table {text}\\t{{{{.State}}}}"));
        let head = shown.lines().next().unwrap();
        let head = head.strip_suffix("STATE").unwrap().trim_end();
        assert_eq!(head, wanted, "{text}");
    }
}

#[test]
fn what_services_wrote_does_nothing_to_a_terminal() {
    let row = Row {
        fields: json!({"Name": "a\u{1b}[2Jb\tc\n", "List": ["\u{202e}x\n", {"y\u{9b}": 1}]}),
        labels: Some([("l".to_owned(), json!("\u{7}"))].into_iter().collect()),
    };
    for (text, raw, clean) in [
        ("{{.Name}}", "a\u{1b}[2Jb\tc\n", "a [2Jb c "),
        ("{{.Label \"l\"}}", "\u{7}", " "),
        // The text's own stay.
        (
            "\u{1b}[1m{{println .Name \"\\t\"}}",
            "\u{1b}[1ma\u{1b}[2Jb\tc\n \t\n",
            "\u{1b}[1ma [2Jb c  \t\n",
        ),
        (
            "{{range .List}}{{.}},{{end}}",
            "\u{202e}x\n,{\"y\u{9b}\":1},",
            " x ,{\"y \":1},",
        ),
        (
            "{{with .Name}}{{printf \"%s\" .}}{{end}}",
            "a\u{1b}[2Jb\tc\n",
            "a [2Jb c ",
        ),
        (
            "{{index .List 0 | print (json .Name)}}",
            "\"a\\u001b[2Jb\\tc\\n\"\u{202e}x\n",
            "\"a [2Jb c \" x ",
        ),
        // JSON escapes more than it must lose.
        (
            "{{json .Name}}",
            "\"a\\u001b[2Jb\\tc\\n\"",
            "\"a\\u001b[2Jb\\tc\\n\"",
        ),
        (
            "{{json .List}}",
            "[\"\u{202e}x\\n\",{\"y\u{9b}\":1}]",
            "[\" x\\n\",{\"y \":1}]",
        ),
    ] {
        let form = Form::parse(text, &row).unwrap();
        let rows = std::slice::from_ref(&row);
        for (terminal, wanted) in [(false, raw), (true, clean)] {
            let shown = form.fill(UI, rows, terminal).unwrap().unwrap();
            assert_eq!(shown, format!("{wanted}\n"), "{text}");
        }
    }
    let table = Form::parse("table {{.Name}}\t{{.Label \"l\"}}x", &row).unwrap();
    let shown = table.fill(UI, &[row], false).unwrap().unwrap();
    assert!(shown.ends_with("\na [2Jb c     x\n"), "{shown:?}");
}

#[test]
fn mistakes_are_named() {
    for (text, wanted) in [
        ("{{.Nmae}}", "`Nmae` is not among"),
        ("{{Name}}", "written with a dot: .Name"),
        ("{{.Name", "has no `}}`"),
        ("{{if .Name}}x", "has no `{{end}}`"),
        ("{{end}}", "ends nothing"),
        ("tabel", "table, json, or a text"),
        ("{{range .Name}}{{end}}", "goes over lists"),
        ("{{$x := .Name}}", "no variables"),
        ("{{truncate .Name -1}}", "no length"),
        ("{{.Name | }}", "beside a `|`"),
        ("{{(.Name}}", "has no `)`"),
        ("{{lt .Name 1}}", "have no order"),
        ("{{print \"\\q\"}}", "is not a text"),
    ] {
        let error = Form::parse(text, &row()).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let bare = Row::from(json!({"Name": "x"}));
    let error = Form::parse("{{.Label \"tier\"}}", &bare).unwrap_err();
    assert_eq!(error, "`Label` is not among Name");
    assert_eq!(Form::parse("json", &row()), Ok(Form::Json));
    assert_eq!(Form::parse("table", &row()), Ok(Form::Table));
}
