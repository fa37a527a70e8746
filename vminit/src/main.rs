//! `vminit`: PID 1 and agent of a micro-VM.
//!
//! One process with one thread: it mounts what every VM needs, waits for the
//! host's `Configure`, makes the service's root file system, starts the
//! service in namespaces of its own, and from then on moves bytes, watches
//! health and reaps. When it dies the kernel panics, and the VM with it:
//! there is no state in which a VM runs that nobody answers for.

mod agent;
mod boot;
mod builtin;
mod caps;
mod cards;
mod changes;
mod child;
mod copy;
mod devices;
mod exec;
mod files;
mod health;
mod init;
mod input;
mod net;
mod nfs;
mod output;
mod port;
mod process;
mod processes;
mod relay;
mod rootfs;
mod service;
mod spawn;
mod stats;
mod sys;
mod template;
mod users;
mod volume;
mod within;

fn main() {
    if let Some(to) = relay::wanted() {
        return relay::serve(to);
    }
    if let Some(order) = relay::wanted_inward() {
        return relay::serve_inward(&order);
    }
    if let Some(dir) = changes::wanted() {
        return changes::serve(&dir);
    }
    if let Err(error) = boot::mounts() {
        eprintln!("vminit: {error}");
    }
    let template = template::is_one();
    let cards = match template {
        true => cards::Cards::of_template(),
        false => cards::Cards::default(),
    };
    if template && let Err(error) = template::let_go() {
        eprintln!("vminit: {error}");
        boot::reset();
    }
    match agent::Agent::new(template, cards) {
        Ok(mut agent) => match agent.run() {
            Ok(()) => boot::end(),
            Err(error) => eprintln!("vminit: {error}"),
        },
        Err(error) => eprintln!("vminit: no agent port: {error}"),
    }
    boot::reset();
}
