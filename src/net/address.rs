//! Distinguishes public IP addresses from others.
//!
//! Based on the IANA registries of special-purpose addresses (RFC 6890 and updates). For IPv4 the non-public blocks are
//! listed. For IPv6 only `2000::/3` has been allocated, so everything else is refused, and so are all forms that embed
//! an IPv4 address, because an unknown gateway decides what they reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Non-public IPv4 blocks: first address and prefix length.
const SPECIAL_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),          // "this network"; Linux takes 0.0.0.0 for itself
    (Ipv4Addr::new(10, 0, 0, 0), 8),         // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),      // behind a carrier's NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),        // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32),   // Azure's platform: wire server, DNS, health probes
    (Ipv4Addr::new(169, 254, 0, 0), 16),     // link-local; 169.254.169.254 hands out credentials in most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),      // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),       // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),       // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),     // relays of 6to4
    (Ipv4Addr::new(192, 168, 0, 0), 16),     // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),      // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),    // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),     // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),        // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),        // reserved
    (Ipv4Addr::new(255, 255, 255, 255), 32), // broadcast
];

/// The allocated IPv6 space. Loopback, mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), discard
/// (`100::/64`), segment routing (`5f00::/16`), unique local (`fc00::/7`), link-local, site-local and multicast
/// addresses are outside of it.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Non-public blocks within [`GLOBAL_UNICAST`].
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments: Teredo, benchmarks, ORCHID
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether the address is publicly reachable on the internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|block| contains_v4(*block, address)),
        IpAddr::V6(address) => {
            contains_v6(GLOBAL_UNICAST, address)
                && !SPECIAL_V6.iter().any(|block| contains_v6(*block, address))
                && !is_isatap(address)
        }
    }
}

fn contains_v4((first, length): (Ipv4Addr, u32), address: Ipv4Addr) -> bool {
    (first.to_bits() ^ address.to_bits()) >> (Ipv4Addr::BITS - length) == 0
}

fn contains_v6((first, length): (Ipv6Addr, u32), address: Ipv6Addr) -> bool {
    (first.to_bits() ^ address.to_bits()) >> (Ipv6Addr::BITS - length) == 0
}

/// Whether the address embeds an IPv4 address to tunnel to (RFC 5214).
fn is_isatap(address: Ipv6Addr) -> bool {
    let [.., flags, marker, _, _] = address.segments();
    matches!(flags, 0 | 0x0200) && marker == 0x5efe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn the_ends_of_every_ipv4_block_are_refused_and_their_neighbours_are_not() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("168.63.129.16", "168.63.129.16"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ] {
            assert!(!judge(first), "{first}");
            assert!(!judge(last), "{last}");
            let first: Ipv4Addr = first.parse().unwrap();
            let last: Ipv4Addr = last.parse().unwrap();
            if let Some(before) = first.to_bits().checked_sub(1) {
                assert!(is_public(Ipv4Addr::from_bits(before).into()), "before {first}");
            }
            if let Some(after) = last.to_bits().checked_add(1) {
                assert!(is_public(Ipv4Addr::from_bits(after).into()), "after {last}");
            }
        }
    }

    #[test]
    fn special_ipv6_addresses_are_refused() {
        for address in [
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::a00:1",
            "100::1",
            "100:0:0:1::1",
            "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2a00:1450:4001::5efe:7f00:1",
            "2a00:1450:4001:0:200:5efe:a00:1",
            "3fff::1",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(!judge(address), "{address}");
        }
    }

    #[test]
    fn addresses_of_well_known_sites_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "151.101.1.140",
            "168.63.129.15",
            "172.64.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7:ffff::1",
            "2003::1",
            "2606:4700:4700::1111",
            "2a04:4e42::396",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert!(judge(address), "{address}");
        }
    }
}
