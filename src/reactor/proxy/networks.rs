//! A list of addresses and networks.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Addresses whose connections begin with a PROXY header: single ones and CIDR networks, IPv4 and IPv6.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads a list such as `10.0.0.5, 192.0.2.0/24, 2001:db8::/32`; an empty text is an empty list.
    ///
    /// # Errors
    /// Says which item is neither an address nor a network.
    pub fn parse(text: &str) -> Result<Networks, String> {
        if text.trim().is_empty() {
            return Ok(Networks::default());
        }
        let read = |item: &str| network(item).ok_or_else(|| wrong(item));
        text.split(',').map(|item| read(item.trim())).collect::<Result<Vec<_>, _>>().map(Networks)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is one of them. An IPv6 address that stands for an IPv4 address counts as that.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn wrong(item: &str) -> String {
    format!(
        "must be IP addresses and networks of balancers, such as 10.0.0.5,192.0.2.0/24,2001:db8::/32; {item:?} is neither"
    )
}

fn network(item: &str) -> Option<IpNet> {
    if let Ok(address) = item.parse::<IpAddr>() {
        return Some(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = item.parse().ok()?;
    match network {
        // Peers' IPv4 addresses are compared as such, also where the socket is one of IPv6.
        IpNet::V6(mapped) if mapped.prefix_len() >= 96 => match mapped.addr().to_ipv4_mapped() {
            Some(address) => Ipv4Net::new(address, mapped.prefix_len() - 96).ok().map(IpNet::V4),
            None => Some(network),
        },
        IpNet::V4(_) | IpNet::V6(_) => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        Networks::parse(list).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks_of_both_families_are_matched() {
        let list = "10.0.0.5, 192.0.2.0/24 ,2001:db8::/32,2001:db9::1,::ffff:198.51.100.7,::ffff:203.0.113.0/120";
        for address in [
            "10.0.0.5",
            "192.0.2.0",
            "192.0.2.255",
            "2001:db8:ffff::1",
            "2001:db9::1",
            "::ffff:10.0.0.5",
            "198.51.100.7",
            "203.0.113.9",
        ] {
            assert!(contains(list, address), "{address}");
        }
        for address in ["10.0.0.6", "192.0.3.0", "2001:db9::2", "198.51.100.8", "203.0.114.1", "127.0.0.1", "::1"] {
            assert!(!contains(list, address), "{address}");
        }
        // Bits behind the prefix do not matter; nor is a network of everything an error.
        assert!(contains("192.0.2.77/24", "192.0.2.1") && contains("0.0.0.0/0", "203.0.113.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn an_empty_list_has_none_and_a_wrong_item_is_named() {
        assert!(Networks::parse("").unwrap().is_empty() && Networks::parse("  ").unwrap().is_empty());
        assert!(!Networks::parse("10.0.0.5").unwrap().is_empty());
        for (list, item) in [
            ("balancer", "\"balancer\""),
            ("10.0.0.5,,10.0.0.6", "\"\""),
            ("10.0.0.5,", "\"\""),
            ("10.0.0.0/33", "\"10.0.0.0/33\""),
            ("10.0.0.5:80", "\"10.0.0.5:80\""),
            ("10.0.0.5 10.0.0.6", "\"10.0.0.5 10.0.0.6\""),
            ("10.0.0/24", "\"10.0.0/24\""),
            ("2001:db8::/129", "\"2001:db8::/129\""),
        ] {
            let error = Networks::parse(list).unwrap_err();
            assert!(error.contains(item), "{list}: {error}");
        }
    }
}
