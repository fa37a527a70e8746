//! A profile of system calls as the program that the guest's kernel runs.
//!
//! `seccompiler` makes programs with one action for what matches and one for
//! the rest; a profile may have many. So there is one part for each action, and
//! what does not match goes on to the next part. The last one allows what
//! any rule is about, and does with the rest what the profile says. Where
//! rules with different actions match, the strictest counts.

use std::collections::BTreeMap;
use std::str::FromStr;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use stack_api::seccomp::{Action, Argument, Circumstances, Compare, Profile, Rule};
use syscalls::Sysno;

/// Instructions of a program at most (Linux, `BPF_MAXINSNS`).
const MOST: usize = 4096;
/// `BPF_RET | BPF_K` and `BPF_JMP | BPF_JA`.
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;

/// Rules by number of the call; none for a call is one that always holds.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The program for a service with these capabilities (without `CAP_`), in
/// bytes as the agent takes them.
///
/// # Errors
/// It would be too long, in words.
pub(super) fn program(profile: &Profile, capabilities: &[String]) -> Result<Vec<u8>, String> {
    let holds = |rule: &&Rule| {
        let fits = |where_: &Circumstances| {
            let with = |caps: &[String]| {
                let bare = |cap: &str| cap.strip_prefix("CAP_").unwrap_or(cap).to_owned();
                caps.iter().any(|cap| capabilities.contains(&bare(cap)))
            };
            let arch = |name: &String| *name == go_arch();
            (with(&where_.caps), where_.arches.iter().any(arch))
        };
        let included = rule.includes.as_ref().is_none_or(|only| {
            let (caps, arches) = fits(only);
            (only.caps.is_empty() || caps) && (only.arches.is_empty() || arches)
        });
        let excluded = rule.excludes.as_ref().is_some_and(|not| {
            let (caps, arches) = fits(not);
            caps || arches || not.min_kernel.is_some()
        });
        included && !excluded
    };
    let rules: Vec<&Rule> = profile.syscalls.iter().filter(holds).collect();
    let mut by_action: BTreeMap<i32, (SeccompAction, Vec<&Rule>)> = BTreeMap::new();
    for rule in &rules {
        let action = action(rule.action, rule.errno_ret);
        if action != SeccompAction::Allow {
            // As signed numbers the kernel's actions are in the order of strictness.
            let entry = by_action.entry(u32::from(action.clone()) as i32);
            entry.or_insert((action, Vec::new())).1.push(rule);
        }
    }
    let mut parts = Vec::new();
    for (action, rules) in by_action.into_values() {
        let part = part(&rules, SeccompAction::Allow, action)?;
        parts.push((part, u32::from(SeccompAction::Allow)));
    }
    let default = action(profile.default_action, profile.default_errno_ret);
    if default != SeccompAction::Allow {
        let part = part(&rules, default.clone(), SeccompAction::Allow)?;
        parts.push((part, u32::from(default)));
    }
    let all = joined(parts);
    match all.len() {
        0 => Ok(Vec::new()),
        length if length <= MOST => Ok(all.iter().flat_map(bytes).collect()),
        length => Err(format!(
            "it becomes {length} instructions, and the kernel takes {MOST}"
        )),
    }
}

fn part(
    rules: &[&Rule],
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, String> {
    let mut calls = Rules::new();
    for rule in rules {
        let numbers = rule.names().filter_map(|name| Sysno::from_str(name).ok());
        for number in numbers.map(|call| i64::from(call.id())) {
            let conditions = conditions(rule.args.as_deref().unwrap_or_default())?;
            let always = calls.get(&number).is_some_and(Vec::is_empty);
            match conditions.is_empty() {
                true => drop(calls.insert(number, Vec::new())),
                false if always => {}
                false => calls.entry(number).or_default().extend(conditions),
            }
        }
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter = SeccompFilter::new(calls, otherwise, matching, arch);
    let program = filter.and_then(BpfProgram::try_from);
    program.map_err(|error| error.to_string())
}

/// One rule in which all conditions must hold; as runc does, conditions on the
/// same argument are alternatives.
fn conditions(arguments: &[Argument]) -> Result<Vec<SeccompRule>, String> {
    let twice = arguments.iter().enumerate().any(|(n, argument)| {
        let others = &arguments[..n];
        others.iter().any(|other| other.index == argument.index)
    });
    let one = |arguments: &[Argument]| {
        let conditions: Result<Vec<_>, _> = arguments.iter().map(condition).collect();
        conditions
            .and_then(SeccompRule::new)
            .map_err(|error| error.to_string())
    };
    match (arguments.is_empty(), twice) {
        (true, _) => Ok(Vec::new()),
        (false, true) => arguments.chunks(1).map(one).collect(),
        (false, false) => Ok(vec![one(arguments)?]),
    }
}

fn condition(argument: &Argument) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (operator, value) = match argument.op {
        Compare::NotEqual => (SeccompCmpOp::Ne, argument.value),
        Compare::Less => (SeccompCmpOp::Lt, argument.value),
        Compare::LessOrEqual => (SeccompCmpOp::Le, argument.value),
        Compare::Equal => (SeccompCmpOp::Eq, argument.value),
        Compare::GreaterOrEqual => (SeccompCmpOp::Ge, argument.value),
        Compare::Greater => (SeccompCmpOp::Gt, argument.value),
        Compare::MaskedEqual => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, operator, value)
}

fn action(action: Action, number: Option<u32>) -> SeccompAction {
    match action {
        Action::KillThread => SeccompAction::KillThread,
        Action::KillProcess => SeccompAction::KillProcess,
        Action::Trap => SeccompAction::Trap,
        Action::Errno => SeccompAction::Errno(number.unwrap_or(libc::EPERM as u32)),
        Action::Trace => SeccompAction::Trace(number.unwrap_or(libc::EPERM as u32)),
        Action::Log => SeccompAction::Log,
        Action::Allow => SeccompAction::Allow,
    }
}

/// One after the other: where a part but the last would let a call pass, it
/// goes on with the next.
fn joined(parts: Vec<(BpfProgram, u32)>) -> Vec<sock_filter> {
    let mut all: Vec<sock_filter> = Vec::new();
    let last = parts.len().saturating_sub(1);
    for (n, (mut part, otherwise)) in parts.into_iter().enumerate() {
        let length = part.len();
        for (at, instruction) in part.iter_mut().enumerate() {
            let passes = instruction.code == RETURN && instruction.k == otherwise;
            if n < last && passes {
                let left = length - at - 1;
                *instruction = sock_filter {
                    code: JUMP,
                    jt: 0,
                    jf: 0,
                    k: left as u32,
                };
            }
        }
        all.append(&mut part);
    }
    all
}

fn bytes(instruction: &sock_filter) -> [u8; 8] {
    let [a, b] = instruction.code.to_le_bytes();
    let [c, d, e, f] = instruction.k.to_le_bytes();
    [a, b, instruction.jt, instruction.jf, c, d, e, f]
}

/// Go's name of this architecture.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(profile: &str, capabilities: &[&str]) -> Vec<u8> {
        let profile: Profile = serde_json::from_str(profile).unwrap_or_default();
        let capabilities: Vec<String> = capabilities.iter().map(|c| (*c).to_owned()).collect();
        program(&profile, &capabilities).unwrap_or_default()
    }

    /// What the program says of a call; classic BPF as seccomp has it.
    fn judge(program: &[u8], call: Sysno, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend((call.id() as u32).to_le_bytes());
        data.extend(audit_arch().to_le_bytes());
        data.extend([0; 8]);
        arguments.iter().for_each(|a| data.extend(a.to_le_bytes()));
        let (mut pc, mut accumulator) = (0, 0u32);
        loop {
            let at = &program[pc * 8..pc * 8 + 8];
            let code = u16::from_le_bytes([at[0], at[1]]);
            let (jt, jf) = (at[2] as usize, at[3] as usize);
            let k = u32::from_le_bytes([at[4], at[5], at[6], at[7]]);
            pc += 1;
            let mut branch = |yes: bool| pc += if yes { jt } else { jf };
            match code {
                0x20 => {
                    let k = k as usize;
                    let word = [data[k], data[k + 1], data[k + 2], data[k + 3]];
                    accumulator = u32::from_le_bytes(word);
                }
                0x54 => accumulator &= k,
                0x05 => pc += k as usize,
                0x15 => branch(accumulator == k),
                0x25 => branch(accumulator > k),
                0x35 => branch(accumulator >= k),
                0x45 => branch(accumulator & k != 0),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn audit_arch() -> u32 {
        match std::env::consts::ARCH {
            "aarch64" => 0xc000_00b7,
            _ => 0xc000_003e,
        }
    }

    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    const KILL: u32 = 0x8000_0000;

    #[test]
    fn every_action_has_its_calls() {
        let program = made(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "syscalls": [
                {"names": ["read", "not_a_call"], "action": "SCMP_ACT_ALLOW"},
                {"name": "clone3", "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
                {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                 {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                 {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                 {"index": 0, "value": 256, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}
            ]}"#,
            &[],
        );
        let first = |call, argument| judge(&program, call, [argument, 0, 0, 0, 0, 0]);
        assert_eq!(first(Sysno::read, 0), ALLOW);
        assert_eq!(first(Sysno::write, 0), ERRNO | 13);
        assert_eq!(first(Sysno::clone3, 0), ERRNO | 38);
        assert_eq!(first(Sysno::ptrace, 0), KILL);
        assert_eq!(first(Sysno::personality, 8), ALLOW);
        assert_eq!(first(Sysno::personality, 9), ERRNO | 13);
        assert_eq!(first(Sysno::personality, 8 << 32 | 8), ERRNO | 13);
        assert_eq!(first(Sysno::socket, 2), ALLOW);
        assert_eq!(first(Sysno::socket, 3), ERRNO | 13);
        assert_eq!(first(Sysno::clone, 0x11), ALLOW);
        assert_eq!(first(Sysno::clone, 0x111), ERRNO | 13);
    }

    #[test]
    fn rules_for_capabilities_and_architectures() {
        let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_BPF"]}},
            {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["s390x"]}},
            {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4.8"}}
        ]}"#;
        let say = |program: &[u8], call| judge(program, call, [0; 6]);
        let with = made(profile, &["SYS_ADMIN", "BPF"]);
        let without = made(profile, &[]);
        assert_eq!(say(&with, Sysno::mount), ALLOW);
        assert_eq!(say(&without, Sysno::mount), ERRNO | 1);
        assert_eq!(say(&with, Sysno::bpf), ERRNO | 1);
        assert_eq!(say(&without, Sysno::bpf), ALLOW);
        assert_eq!(say(&with, Sysno::kcmp), ALLOW);
        assert_eq!(say(&with, Sysno::acct), ERRNO | 1);
    }

    #[test]
    fn a_profile_that_allows_all_is_none() {
        assert!(made(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#, &[]).is_empty());
    }
}
