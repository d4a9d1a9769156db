//! `vmxsim vmcs lint` on each kind of guest, in JSON.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Map, Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use vmx::entry_rules::explain;
use vmx::field::FIELDS;
use vmx::sample::{Guest, Sample};

/// Every field of a sample: by symbol, name and encoding in turn, as text and as numbers.
fn as_json(sample: &Sample) -> String {
    let mut fields = Map::new();
    for (place, field) in FIELDS.iter().enumerate() {
        let value = sample.vmcs.read(field.encoding);
        let key = match place % 3 {
            0 => field.symbol.to_owned(),
            1 => field.name.to_owned(),
            _ => format!("{:#x}", field.encoding.raw()),
        };
        fields.insert(key, if place % 2 == 0 { json!(value) } else { json!(format!("{value:#x}")) });
    }
    Value::Object(fields).to_string()
}

/// The exit status, and the result of `--json`.
fn lint(text: &str) -> (i32, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vmxsim"))
        .args(["vmcs", "lint", "-", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_whole_vmcs_violates_what_the_checks_of_vm_entry_say() {
    for (_, name) in Guest::ALL.into_iter().filter(|(guest, _)| *guest != Guest::Legacy) {
        for change in ["", "GUEST_RFLAGS=0x0", "VPID=0x0 HOST_TR_SELECTOR=0x0 GUEST_ACTIVITY=0x4"] {
            let sample: Sample = format!("{name} {change}").parse().unwrap();
            let expected: Vec<_> = explain(&sample.subject())
                .iter()
                .map(|violation| {
                    let fields: Map<_, _> = violation
                        .values
                        .iter()
                        .map(|(field, value)| {
                            let name = vmx::field::Field::by_encoding(*field).unwrap().name;
                            (name.to_owned(), json!(format!("{value:#x}")))
                        })
                        .collect();
                    (violation.rule.id.to_owned(), Value::Object(fields), violation.refused_as.to_string())
                })
                .collect();
            let (status, result) = lint(&as_json(&sample));
            let found: Vec<_> = result["violations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|violation| {
                    let text = |key: &str| violation[key].as_str().unwrap().to_owned();
                    assert!(!text("says").is_empty() && !text("sdm").is_empty());
                    (text("rule"), violation["fields"].clone(), text("refused_as"))
                })
                .collect();
            assert_eq!(found, expected, "{name} {change}");
            assert_eq!(status, i32::from(!expected.is_empty()), "{name} {change}");
            assert_eq!(result["not_judged"], json!([]), "{name} {change}");
        }
    }
}
