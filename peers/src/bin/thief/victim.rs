//! The process that is to be robbed: a port in each state of its life, shown to the thieves.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use heldport::{Error, HeldPort, PortAllocator, Protocol};
use heldport_peers::worker::{self, Worker};

use crate::ways::{Setting, Way};

pub(crate) const VICTIM: &str = "victim";
pub(crate) const BORROWER: &str = "borrower";

/// What takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What heldport says of a number, and thieves may try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Held,
    HeldForBoth,
    UdpServed,
    ListenedOver,
    Lent,
    Robbed,
    Borrowed,
    Served,
    Ended,
    Listening,
}

impl State {
    pub(crate) const ALL: [(Self, &'static str); 10] = [
        (Self::Held, "held"),
        (Self::HeldForBoth, "held for TCP and UDP"),
        (Self::UdpServed, "its UDP socket handed over"),
        (Self::ListenedOver, "listened on over the hold"),
        (Self::Lent, "lent, and nobody listens yet"),
        (Self::Robbed, "reclaimed after a theft"),
        (Self::Borrowed, "lent, and its borrower listens"),
        (Self::Served, "reclaimed, and its borrower listens"),
        (Self::Ended, "reclaimed, and its borrower was killed"),
        (Self::Listening, "the held socket listens"),
    ];

    /// Whether nobody can take the number.
    pub(crate) fn is_safe(self) -> bool {
        self != Self::Lent
    }

    /// Whether it is held for UDP too.
    pub(crate) fn has_udp(self) -> bool {
        matches!(self, Self::HeldForBoth | Self::UdpServed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(state, _)| state == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for State {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(state, _)| *state).with_context(|| format!("no such state: {name}"))
    }
}

/// Shows all states of its ports, until it is ended.
pub(crate) fn play() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = || -> Result<u16> { Ok(args.next().context("a number is missing")?.parse()?) };
    let range = number()?..=number()?;
    let words = worker::hear();
    let picked_from = || PortAllocator::builder().range(range.clone()).exclude_well_known(false);
    let (tcp, both) = (picked_from().build()?, picked_from().protocol(Protocol::TcpAndUdp).build()?);
    // A borrower that sets SO_REUSEPORT lets others of this user in that do so too: for as long as it is lent.
    for round in 0_u64.. {
        lead_both_lives(&both.acquire()?, &words)?;
        let udp = both.acquire()?.into_udp_socket().map_err(|failed| failed.error)?;
        show(State::UdpServed, udp.port(), &words)?;
        drop(udp);
        lead_life(tcp.acquire()?, if round % 2 == 0 { Setting::ReuseAddr } else { Setting::Both }, &words)?;
    }
    Ok(())
}

fn lead_both_lives(port: &HeldPort, words: &Receiver<String>) -> Result<()> {
    show(State::HeldForBoth, port.port(), words)
}

fn lead_life(port: HeldPort, setting: Setting, words: &Receiver<String>) -> Result<()> {
    let number = port.port();
    show(State::Held, number, words)?;
    let listener = port.listen()?;
    show(State::ListenedOver, number, words)?;
    drop(listener);
    port.lend()?;
    be_robbed(&port, words)?;
    port.reclaim()?;
    show(State::Robbed, number, words)?;
    port.lend()?;
    let shares = if setting == Setting::Both { "shares" } else { "alone" };
    let mut borrower = Worker::spawn(BORROWER, &[number.to_string(), shares.to_owned()])?;
    ensure!(borrower.answer()? == "listens");
    port.wait_borrowed(PATIENCE)?;
    if setting != Setting::Both {
        show(State::Borrowed, number, words)?;
    }
    port.reclaim()?;
    show(State::Served, number, words)?;
    drop(borrower);
    show(State::Ended, number, words)?;
    let listening = port.into_listener().map_err(|failed| failed.error)?;
    show(State::Listening, listening.port(), words)
}

/// The number is in this state until the next word.
fn show(state: State, port: u16, words: &Receiver<String>) -> Result<()> {
    worker::say(format_args!("{port} {state}"));
    ensure!(words.recv()? == "go on");
    Ok(())
}

/// Says what heldport tells of each theft.
fn be_robbed(port: &HeldPort, words: &Receiver<String>) -> Result<()> {
    worker::say(format_args!("{} {}", port.port(), State::Lent));
    loop {
        match &*words.recv()? {
            "go on" => return Ok(()),
            "who listens" => match port.wait_borrowed(PATIENCE) {
                Err(Error::Stolen { holder, .. }) => {
                    worker::say(format_args!("stolen by {}", holder.pid.unwrap_or_default()));
                }
                other => worker::say(format_args!("{other:?}").to_string().replace('\n', " ")),
            },
            other => bail!("what is {other}?"),
        }
    }
}

/// A server by number, on both loopbacks.
pub(crate) fn borrow() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let port = args.next().context("a number is missing")?.parse()?;
    let setting = if args.next().as_deref() == Some("shares") { Setting::Both } else { Setting::ReuseAddr };
    let _words = worker::hear();
    let loopbacks = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let ways = Way::all()
        .into_iter()
        .filter(|way| way.listens() && way.setting == setting && loopbacks.contains(&way.ip));
    let listeners = ways.map(|way| way.take(port)).collect::<std::io::Result<Vec<_>>>()?;
    worker::say("listens");
    let _kept = listeners;
    worker::stay()
}
