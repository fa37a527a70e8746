//! A plan as a reviewer reads it: a line for what becomes of each thing,
//! below it what is different and where that is written.

use anstyle::Style;
use stack_planner::plan::{Action, Change, Plan, Reason, Step};

use crate::ui::untrusted::plain;
use crate::ui::{Ui, human, palette};

/// Longest value that is shown whole.
const LONGEST: usize = 60;
/// What is shown of a long value before the first difference.
const CONTEXT: usize = 12;

/// What becomes of a thing, in the order of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Pull,
    Build,
    Create,
    Replace,
    UpdateNetwork,
    Update,
    Restart,
    Start,
    Stop,
    Remove,
}

impl Fate {
    /// Mark, word and colour: `+` makes, `~` changes, `-` removes, `>` runs,
    /// `±` makes one for another.
    fn look(self) -> (char, &'static str, Style) {
        match self {
            Fate::Pull => ('>', "pull", palette::BUSY),
            Fate::Build => ('>', "build", palette::BUSY),
            Fate::Create => ('+', "create", palette::GOOD),
            Fate::Replace | Fate::UpdateNetwork => ('±', "replace", palette::WARN),
            Fate::Update => ('~', "update", palette::BUSY),
            Fate::Restart => ('>', "restart", palette::WARN),
            Fate::Start => ('>', "start", palette::GOOD),
            Fate::Stop => ('>', "stop", palette::WARN),
            Fate::Remove => ('-', "remove", palette::BAD),
        }
    }

    /// `2 to create`
    fn count(self, n: usize) -> String {
        match self {
            Fate::Update => format!("{n} to update in place"),
            fate => format!("{n} to {}", fate.look().1),
        }
    }
}

/// What the steps say of one thing.
struct Line<'a> {
    fate: Fate,
    kind: &'static str,
    name: &'a str,
    reason: &'a Reason,
    remarks: Vec<String>,
}

/// The whole text; ends with a summary.
pub(super) fn text(ui: Ui, plan: &Plan) -> String {
    if plan.is_empty() {
        let kept = human::count(plan.unchanged.len(), "container");
        return format!("Nothing to do: {kept} as wanted.\n");
    }
    let lines = lines(plan);
    let widest = lines.iter().map(|line| line.name.chars().count()).max();
    let name_width = widest.unwrap_or(0);
    let mut out = String::new();
    for line in &lines {
        let (mark, word, style) = line.fate.look();
        out.push_str(&ui.out.paint(style, format_args!("{mark} {word:<8}")));
        let head = format!(" {:<9} {:name_width$}", line.kind, plain(line.name));
        let mut remarks = line.remarks.clone();
        if let Some(reason) = reason(line) {
            remarks.insert(0, reason);
        }
        if remarks.is_empty() {
            out.push_str(head.trim_end());
        } else {
            out.push_str(&head);
            out.push_str("  ");
            out.push_str(&ui.out.paint(palette::DIM, remarks.join(", ")));
        }
        out.push('\n');
        if let Reason::Changed { changes } = line.reason {
            out.push_str(&details(ui, changes));
        }
    }
    out.push_str(&format!("\n{}\n", summary(&lines, plan.unchanged.len())));
    out
}

/// One line per thing and what becomes of it; steps that belong to another
/// one's line say something there or nothing.
fn lines(plan: &Plan) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for step in &plan.steps {
        let (kind, name) = step.action.subject();
        let mut remarks = waits(step);
        let fate = match &step.action {
            Action::Pull { .. } => Fate::Pull,
            Action::Build { .. } => Fate::Build,
            Action::Create { name, .. } if replaces(plan, name) => Fate::Replace,
            Action::CreateNetwork { .. } | Action::CreateVolume { .. } | Action::Create { .. } => {
                Fate::Create
            }
            Action::UpdateNetwork { .. } => Fate::UpdateNetwork,
            Action::Recreate { service, .. } => {
                if plan.rollouts.contains_key(service) {
                    remarks.extend(batches(plan, service));
                }
                Fate::Replace
            }
            Action::Switch { .. } => {
                remarks.push("the new one first".to_owned());
                Fate::Replace
            }
            Action::Update { .. } => {
                remarks.push("in place, it keeps running".to_owned());
                Fate::Update
            }
            Action::Stop { .. } => Fate::Stop,
            Action::Start { .. } => {
                let mut known = lines.iter_mut().rev();
                let made = known.find(|line| line.kind == kind && line.name == name);
                if let Some(line) = made.filter(|line| line.fate != Fate::Update) {
                    if line.fate == Fate::Stop {
                        line.fate = Fate::Restart;
                    }
                    line.remarks.extend(remarks);
                    continue;
                }
                // The one beside another is told of where it takes over.
                let beside = plan.steps.iter().any(|step| {
                    matches!(&step.action, Action::CreateBeside { name: other, .. } if other == name)
                });
                if beside {
                    continue;
                }
                Fate::Start
            }
            // Told with its successor.
            Action::Remove { heir: Some(_), .. } => continue,
            Action::Remove { .. } if step.reason == Reason::Replaced => continue,
            Action::Remove { .. } => Fate::Remove,
            Action::CreateBeside { .. } | Action::Watch { .. } => continue,
        };
        lines.push(Line {
            fate,
            kind,
            name,
            reason: &step.reason,
            remarks,
        });
    }
    for line in &mut lines {
        let starts =
            |step: &Step| matches!(&step.action, Action::Start { name, .. } if name == line.name);
        if line.fate == Fate::Update && plan.steps.iter().any(starts) {
            // It does not run, or is restarted for another reason.
            line.remarks
                .retain(|remark| remark != "in place, it keeps running");
            line.remarks.push("in place".to_owned());
        }
    }
    lines
}

/// Another container goes, long before this one is made in its place.
fn replaces(plan: &Plan, name: &str) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(&step.action, Action::Remove { heir: Some(heir), .. } if heir == name))
}

/// `after db (healthy)`
fn waits(step: &Step) -> Vec<String> {
    let word = |wait: &stack_planner::plan::WaitFor| {
        let condition = serde_json::to_value(wait.condition).ok();
        let condition = condition.and_then(|c| c.as_str().map(str::to_owned));
        let condition = condition.unwrap_or_default();
        let condition = condition.trim_start_matches("service_").replace('_', " ");
        format!("after {} ({condition})", wait.service)
    };
    step.wait_for.iter().map(word).collect()
}

/// `2 at a time`; nothing when all are replaced at once.
fn batches(plan: &Plan, service: &str) -> Option<String> {
    let sizes = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Watch {
            service: watched,
            names,
            ..
        } if watched == service => Some(names.len()),
        _ => None,
    });
    let sizes: Vec<usize> = sizes.collect();
    match sizes.iter().max() {
        Some(1) if sizes.len() > 1 => Some("one after another".to_owned()),
        Some(n) if sizes.len() > 1 => Some(format!("{n} at a time")),
        _ => None,
    }
}

/// What is said beside the name; changes have lines of their own.
fn reason(line: &Line<'_>) -> Option<String> {
    match line.reason {
        Reason::Changed { changes } if !changes.is_empty() => None,
        reason => Some(plain(&reason.to_string())),
    }
}

/// `  ports[0]: 80:80 → 8080:80  stack.yaml:7`
fn details(ui: Ui, changes: &[Change]) -> String {
    let mut out = String::new();
    for change in changes {
        let plain_value = |value: &Option<String>| value.as_deref().map(plain);
        let (from, to) = (plain_value(&change.from), plain_value(&change.to));
        let same = match (&from, &to) {
            (Some(from), Some(to)) => alike(from, to),
            _ => 0,
        };
        let value = |value: Option<String>| match value {
            None => ui.out.paint(palette::DIM, "(none)"),
            Some(text) => cut(&text, same),
        };
        let (from, to) = (value(from), value(to));
        let attribute = plain(&change.attribute);
        out.push_str(&format!("    {attribute}: {from} → {to}"));
        if let Some(place) = &change.place {
            let here = std::env::current_dir().unwrap_or_default();
            let file = place.file.strip_prefix(&here).unwrap_or(&place.file);
            let place = format!("  {}:{}", file.display(), place.line);
            out.push_str(&ui.out.paint(palette::DIM, place));
        }
        out.push('\n');
    }
    out
}

/// Characters at the start of two long values that need not be shown: a few
/// before the first difference are.
fn alike(a: &str, b: &str) -> usize {
    if a.chars().count().max(b.chars().count()) <= LONGEST {
        return 0;
    }
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.count().saturating_sub(CONTEXT)
}

/// At most [`LONGEST`] characters, from `start` on.
fn cut(text: &str, start: usize) -> String {
    let mut left = text.chars().skip(start);
    let mut out = String::from(if start > 0 { "…" } else { "" });
    out.extend(left.by_ref().take(LONGEST));
    if left.next().is_some() {
        out.push('…');
    }
    out
}

/// `2 to create, 1 to update in place; 3 containers unchanged.`
fn summary(lines: &[Line<'_>], unchanged: usize) -> String {
    let mut fates: Vec<Fate> = lines.iter().map(|line| line.fate).collect();
    fates.sort_unstable();
    let mut parts: Vec<String> = Vec::new();
    for group in fates.chunk_by(|a, b| a.look().1 == b.look().1) {
        parts.push(group[0].count(group.len()));
    }
    let kept = match unchanged {
        0 => String::new(),
        n => format!("; {} unchanged", human::count(n, "container")),
    };
    format!("{}{kept}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ui::Paint;

    fn shown(plan: Value) -> String {
        let plan: Plan = serde_json::from_value(plan).unwrap();
        let ui = Ui {
            out: Paint(false),
            err: Paint(false),
            live: false,
            width: 80,
        };
        text(ui, &plan)
    }

    fn step(kind: &str, service: &str, reason: &Value) -> Value {
        json!({
            "action": {"type": kind, "service": service, "number": 1, "id": "x",
                       "name": format!("shop-{service}-1"), "beside": "-", "image": "-"},
            "reason": reason, "after": [], "wait_for": [],
        })
    }

    #[test]
    fn a_plan_says_why() {
        let missing = json!({"type": "missing"});
        let exited = json!({"type": "not_running", "state": "exited"});
        let mut start = step("start", "web", &exited);
        start["wait_for"] =
            json!([{"service": "db", "condition": "service_healthy", "required": true}]);
        let plan = json!({
            "steps": [step("create", "db", &missing), step("start", "db", &missing), start],
            "orphans": [],
            "unchanged": ["shop-cache-1"],
        });
        assert_eq!(
            shown(plan),
            "+ create   container shop-db-1   not there yet\n\
             > start    container shop-web-1  it is exited, after db (healthy)\n\
             \n1 to create, 1 to start; 1 container unchanged.\n"
        );
        // One that goes long before its successor comes.
        let changed = json!({"type": "changed", "changes": []});
        let mut gone = step("remove", "web", &changed);
        gone["action"]["heir"] = json!("shop-web-1");
        let steps = [gone, step("create", "web", &changed)];
        let plan = json!({"steps": steps, "orphans": [], "unchanged": []});
        assert!(shown(plan).ends_with("\n1 to replace.\n"));
        let empty = json!({"steps": [], "orphans": [], "unchanged": ["a"]});
        assert_eq!(shown(empty), "Nothing to do: 1 container as wanted.\n");
    }

    #[test]
    fn changes_have_lines_of_their_own() {
        let change = |attribute: &str, from: Value, to: Value, line: Option<u32>| {
            let place = line.map(|line| json!({"file": "stack.yaml", "line": line}));
            json!({"attribute": attribute, "from": from, "to": to, "class": "live",
                   "place": place})
        };
        let live = json!({"type": "changed", "changes": [
            change("ports[0]", json!("80:80"), json!("8080:80"), Some(7)),
            change("labels.x\u{1b}[2J", Value::Null, json!("y".repeat(99)), None),
        ]});
        let new = json!({"type": "changed", "changes": [
            change("user", json!("root"), Value::Null, None),
        ]});
        let restarts = json!({"type": "dependency_restarts", "service": "db"});
        let plan = json!({
            "steps": [
                step("update", "web", &live),
                step("recreate", "db", &new),
                step("start", "db", &new),
                step("stop", "app", &restarts),
                step("start", "app", &restarts),
            ],
            "orphans": [],
            "unchanged": [],
        });
        let long = "y".repeat(60);
        assert_eq!(
            shown(plan),
            format!(
                "~ update   container shop-web-1  in place, it keeps running\n\
                 \x20   ports[0]: 80:80 → 8080:80  stack.yaml:7\n\
                 \x20   labels.x [2J: (none) → {long}…\n\
                 ± replace  container shop-db-1\n\
                 \x20   user: root → (none)\n\
                 > restart  container shop-app-1  db is started anew\n\
                 \n1 to replace, 1 to update in place, 1 to restart.\n"
            )
        );
    }

    #[test]
    fn of_long_values_the_difference_is_shown() {
        let a = format!("{}one{}", "x".repeat(90), "z".repeat(90));
        let b = format!("{}two{}", "x".repeat(90), "z".repeat(90));
        let start = alike(&a, &b);
        assert_eq!(
            cut(&a, start),
            format!("…{}one{}…", "x".repeat(12), "z".repeat(45))
        );
        assert_eq!(alike("short", "shorter"), 0);
        assert_eq!(cut("short", 0), "short");
    }

    #[test]
    fn a_rollout_is_told_as_one_thing() {
        let new = json!({"type": "forced"});
        let mut watch = step("watch", "web", &json!({"type": "rollout"}));
        watch["action"] = json!({"type": "watch", "service": "web", "names": ["shop-web-1"],
                                 "monitor_ms": 1, "delay_ms": 0});
        let steps = [
            step("recreate", "web", &new),
            step("start", "web", &new),
            watch.clone(),
            step("recreate", "web", &new),
            step("start", "web", &new),
            watch,
        ];
        let guard = json!({"web": {"failure_action": "pause", "tolerated": 0}});
        let plan = json!({"steps": steps, "orphans": [], "unchanged": [], "rollouts": guard});
        assert_eq!(
            shown(plan),
            "± replace  container shop-web-1  --force-recreate, one after another\n\
             ± replace  container shop-web-1  --force-recreate, one after another\n\
             \n2 to replace.\n"
        );
    }
}
