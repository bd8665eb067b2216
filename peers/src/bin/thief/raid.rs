//! Taking from everyone.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use heldport_peers::table::Table;
use socket2::Socket;

use crate::Args;
use crate::ways::{Setting, Transport, Way};

/// How long a number is kept, and listened to who comes.
const KEPT: Duration = Duration::from_millis(1);

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (ways, over, seed) = (Way::all(), AtomicBool::new(false), args.seed.choose());
    eprintln!("thief: {} threads take {:?}, --seed {seed}", args.threads, args.range);
    let (code, loot) = thread::scope(|scope| {
        let hands = (0..args.threads).map(|hand| {
            let (ways, over) = (&ways, &over);
            scope.spawn(move || take_all(args, ways, Rng::with_seed(seed.wrapping_add(hand.into())), over))
        });
        let hands: Vec<_> = hands.collect();
        let code = args.meanwhile.pass();
        over.store(true, Ordering::Relaxed);
        (code, hands.into_iter().flat_map(|hand| hand.join().expect("no panic")).collect::<Vec<_>>())
    });
    print!("{}", table(&loot));
    code
}

/// What one way has brought.
struct Loot {
    way: Way,
    tries: u64,
    got: u64,
    /// Connections that came to what it had.
    talked: u64,
}

fn take_all(args: &Args, ways: &[Way], mut rng: Rng, over: &AtomicBool) -> Vec<Loot> {
    let of_way = |way: &Way| Loot { way: *way, tries: 0, got: 0, talked: 0 };
    let mut loot: Vec<_> = ways.iter().map(of_way).collect();
    // Each begins elsewhere.
    let numbers = args.range.clone().cycle().skip(rng.usize(..args.range.len()));
    for port in numbers {
        rng.shuffle(&mut loot);
        for loot in &mut loot {
            loot.tries += 1;
            if let Ok(socket) = loot.way.take(port) {
                loot.got += 1;
                thread::sleep(KEPT);
                loot.talked += u64::from(loot.way.listens() && is_talked_to(socket));
            }
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    loot
}

fn is_talked_to(socket: Socket) -> bool {
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).is_ok() && listener.accept().is_ok()
}

fn table(loot: &[Loot]) -> String {
    let mut table = Table::new(&["option", "protocol", "tries", "got", "connections"]);
    for setting in Setting::ALL {
        for transport in [Transport::Tcp, Transport::Udp] {
            let of_this = |loot: &&Loot| loot.way.setting == setting && loot.way.transport == transport;
            let sum = |of: fn(&Loot) -> u64| loot.iter().filter(of_this).map(of).sum::<u64>().to_string();
            let counts = [sum(|loot| loot.tries), sum(|loot| loot.got), sum(|loot| loot.talked)];
            table.push([setting.to_string(), transport.to_string()].into_iter().chain(counts).collect());
        }
    }
    table.render()
}
