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
/// `BPF_LD | BPF_W | BPF_ABS` and `BPF_JMP | BPF_JEQ | BPF_K`.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
/// Offset of the architecture in `struct seccomp_data`.
const ARCHITECTURE: u32 = 4;
/// 32-bit programs on x86-64 (linux/audit.h).
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

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
            let has = |cap: &String| {
                let bare = cap.strip_prefix("CAP_").unwrap_or(cap);
                capabilities.iter().any(|held| held == bare)
            };
            let arch = |name: &String| *name == go_arch();
            let caps: Vec<bool> = where_.caps.iter().map(has).collect();
            (caps, where_.arches.iter().any(arch))
        };
        // As Docker: all of the capabilities for one, any of them for the other.
        let included = rule.includes.as_ref().is_none_or(|only| {
            let (caps, arches) = fits(only);
            caps.iter().all(|has| *has) && (only.arches.is_empty() || arches)
        });
        let excluded = rule.excludes.as_ref().is_some_and(|not| {
            let (caps, arches) = fits(not);
            caps.contains(&true) || arches || not.min_kernel.is_some()
        });
        included && !excluded
    };
    let rules: Vec<&Rule> = profile.syscalls.iter().filter(holds).collect();
    let mut all = whole(profile, &rules, native)?;
    let takes_32_bit = profile.takes("SCMP_ARCH_X86_64", "SCMP_ARCH_X86");
    if !all.is_empty() && cfg!(target_arch = "x86_64") && takes_32_bit {
        let mut other = whole(profile, &rules, x86)?;
        of_architecture(&mut other, AUDIT_ARCH_I386);
        let fork = [
            plain(LOAD, ARCHITECTURE),
            sock_filter {
                jf: 1,
                ..plain(JUMP_IF_EQUAL, AUDIT_ARCH_I386)
            },
            plain(JUMP, all.len() as u32),
        ];
        // Without room for both, those programs end, as without a word about them.
        if fork.len() + all.len() + other.len() <= MOST {
            all = fork.into_iter().chain(all).chain(other).collect();
        }
    }
    match all.len() {
        length if length <= MOST => Ok(all.iter().flat_map(bytes).collect()),
        length => Err(format!(
            "it becomes {length} instructions, and the kernel takes {MOST}"
        )),
    }
}

/// The number of a call by its name.
type Numbers = fn(&str) -> Option<i64>;

fn native(name: &str) -> Option<i64> {
    Sysno::from_str(name).ok().map(|call| i64::from(call.id()))
}

fn x86(name: &str) -> Option<i64> {
    let call = syscalls::x86::Sysno::from_str(name).ok()?;
    Some(i64::from(call.id()))
}

fn plain(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Has a program ask for this architecture in place of that of the machine.
fn of_architecture(program: &mut [sock_filter], architecture: u32) {
    for n in 1..program.len() {
        let loaded = &program[n - 1];
        let asks = loaded.code == LOAD && loaded.k == ARCHITECTURE;
        if asks && program[n].code == JUMP_IF_EQUAL {
            program[n].k = architecture;
        }
    }
}

/// The program for one architecture.
fn whole(profile: &Profile, rules: &[&Rule], numbers: Numbers) -> Result<Vec<sock_filter>, String> {
    let mut by_action: BTreeMap<i32, (SeccompAction, Vec<&Rule>)> = BTreeMap::new();
    for rule in rules {
        let action = action(rule.action, rule.errno_ret);
        if action != SeccompAction::Allow {
            // As signed numbers the kernel's actions are in the order of strictness.
            let entry = by_action.entry(u32::from(action.clone()) as i32);
            entry.or_insert((action, Vec::new())).1.push(rule);
        }
    }
    let mut parts = Vec::new();
    for (action, rules) in by_action.into_values() {
        let part = part(&rules, numbers, SeccompAction::Allow, action)?;
        parts.push((part, u32::from(SeccompAction::Allow)));
    }
    let default = action(profile.default_action, profile.default_errno_ret);
    if default != SeccompAction::Allow {
        let part = part(rules, numbers, default.clone(), SeccompAction::Allow)?;
        parts.push((part, u32::from(default)));
    }
    Ok(joined(parts))
}

fn part(
    rules: &[&Rule],
    numbers: Numbers,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<BpfProgram, String> {
    let mut calls = Rules::new();
    for rule in rules {
        for number in rule.names().filter_map(numbers) {
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
                *instruction = plain(JUMP, left as u32);
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
        judge_as(program, audit_arch(), call.id() as u32, arguments)
    }

    fn judge_as(program: &[u8], architecture: u32, call: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(call.to_le_bytes());
        data.extend(architecture.to_le_bytes());
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
            {"names": ["swapon"], "action": "SCMP_ACT_ERRNO",
             "includes": {"caps": ["CAP_BPF", "CAP_SYS_PACCT"]}},
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
        assert_eq!(say(&with, Sysno::swapon), ALLOW, "it has one of two");
        let both = made(profile, &["SYS_PACCT", "BPF"]);
        assert_eq!(say(&both, Sysno::swapon), ERRNO | 1);
        assert_eq!(say(&with, Sysno::kcmp), ALLOW);
        assert_eq!(say(&with, Sysno::acct), ERRNO | 1);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn programs_of_32_bits_have_the_rules_under_their_numbers() {
        let profile = |more: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", {more} "syscalls": [
                {{"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"}},
                {{"names": ["read", "socketcall"], "action": "SCMP_ACT_ALLOW"}},
                {{"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}}]}}]}}"#
            )
        };
        let map = r#""archMap": [{"architecture": "SCMP_ARCH_X86_64",
            "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],"#;
        let list = r#""architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],"#;
        for more in [map, list] {
            let program = made(&profile(more), &[]);
            let of_32 =
                |call, first| judge_as(&program, AUDIT_ARCH_I386, call, [first, 0, 0, 0, 0, 0]);
            // arch/x86/entry/syscalls/syscall_32.tbl
            assert_eq!(of_32(3, 0), ALLOW, "read");
            assert_eq!(of_32(102, 0), ALLOW, "socketcall");
            assert_eq!(
                of_32(0, 0),
                ERRNO | 1,
                "restart_syscall, which is read elsewhere"
            );
            assert_eq!(of_32(26, 0), KILL, "ptrace");
            assert_eq!((of_32(136, 8), of_32(136, 9)), (ALLOW, ERRNO | 1));
            let own = |call| judge(&program, call, [0; 6]);
            assert_eq!((own(Sysno::read), own(Sysno::ptrace)), (ALLOW, KILL));
            assert_eq!(own(Sysno::write), ERRNO | 1);
        }
        let neither = made(&profile(""), &[]);
        assert_eq!(judge_as(&neither, AUDIT_ARCH_I386, 3, [0; 6]), KILL);
    }

    #[test]
    fn a_profile_that_allows_all_is_none() {
        assert!(made(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#, &[]).is_empty());
    }
}
