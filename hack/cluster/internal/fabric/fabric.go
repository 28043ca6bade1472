// Package fabric is the network of the cluster: one bridge in the switch's namespace, one port for each machine, and
// the cuts between ports.
package fabric

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	bridgeName = "br0"
	linkName   = "e0" // a machine's end of its cable
)

// The address plan. No namespace has a route out of the host.
var (
	Machines = netip.MustParsePrefix("10.99.0.0/24")
	Pods     = netip.MustParsePrefix("10.244.0.0/16") // 10.244.j.0/24 on worker j
	Services = netip.MustParsePrefix("10.96.0.0/16")
	Gateway  = netip.MustParseAddr("10.99.0.1") // the switch
)

// Port is the connection of one machine.
type Port struct {
	Name    string
	Address netip.Addr   // within Machines
	Pods    netip.Prefix // routed to this machine; the zero value for machines without pods
}

// portName returns the name of the switch's end of a machine's cable, which like any interface name has at most 15 bytes.
func portName(machine string) string { return "p-" + machine }

// mac derives a machine's MAC from its address. It stays the same over restarts, so no neighbour entry goes stale.
func mac(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x00, b[0], b[1], b[2], b[3]}
}

// handle opens the network namespace of process pid.
func handle(pid int) (*netlink.Handle, netns.NsHandle, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, 0, fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		ns.Close()
		return nil, 0, fmt.Errorf("open netlink in namespace of process %d: %w", pid, err)
	}
	return h, ns, nil
}

// SetUpSwitch creates the bridge in the network namespace of process pid. The bridge's address is every machine's default gateway.
// It answers "unreachable" for anything outside the cluster, so that nothing waits for an answer from outside.
func SetUpSwitch(pid int) error {
	h, ns, err := handle(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	defer h.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName, HardwareAddr: mac(Gateway)}}
	if err := h.LinkAdd(bridge); err != nil {
		return fmt.Errorf("create bridge: %w", err)
	}
	if err := h.AddrAdd(bridge, address(Gateway)); err != nil {
		return fmt.Errorf("give the bridge its address: %w", err)
	}
	if err := h.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("turn on the bridge: %w", err)
	}
	_, everything, err := net.ParseCIDR("0.0.0.0/0")
	if err != nil {
		return err
	}
	if err := h.RouteAdd(&netlink.Route{Dst: everything, Type: unix.RTN_UNREACHABLE}); err != nil {
		return fmt.Errorf("close the way out: %w", err)
	}
	return nil
}

func address(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(Machines.Bits(), 32)}}
}

// Connect plugs the machine whose init is pid into the switch: it adds a cable, its address, and routes to every other machine's
// pods.
func Connect(switchPid, pid int, p Port, others []Port) error {
	sw, swNS, err := handle(switchPid)
	if err != nil {
		return err
	}
	defer swNS.Close()
	defer sw.Close()
	h, ns, err := handle(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	defer h.Close()
	if err := plug(sw, ns, p); err != nil {
		return fmt.Errorf("connect %s: %w", p.Name, err)
	}
	if err := configure(h, p, others); err != nil {
		return fmt.Errorf("configure network of %s: %w", p.Name, err)
	}
	return nil
}

func plug(sw *netlink.Handle, machine netns.NsHandle, p Port) error {
	bridge, err := sw.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	// The cable of a machine that was killed a moment ago may not have disappeared yet.
	if old, err := sw.LinkByName(portName(p.Name)); err == nil {
		if err := sw.LinkDel(old); err != nil {
			return fmt.Errorf("remove old cable: %w", err)
		}
	}
	cable := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: portName(p.Name), MasterIndex: bridge.Attrs().Index},
		PeerName:         linkName,
		PeerHardwareAddr: mac(p.Address),
		PeerNamespace:    netlink.NsFd(machine),
	}
	if err := sw.LinkAdd(cable); err != nil {
		return fmt.Errorf("add cable: %w", err)
	}
	port, err := sw.LinkByName(portName(p.Name))
	if err != nil {
		return fmt.Errorf("find port: %w", err)
	}
	if err := sw.LinkSetUp(port); err != nil {
		return fmt.Errorf("turn on port: %w", err)
	}
	return nil
}

func configure(h *netlink.Handle, p Port, others []Port) error {
	link, err := h.LinkByName(linkName)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	if err := h.AddrAdd(link, address(p.Address)); err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("turn on interface: %w", err)
	}
	// Service addresses need some route before kube-proxy's rules can rewrite them. The default route serves as such.
	if err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: Gateway.AsSlice()}); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	for _, o := range others {
		if o.Name == p.Name || !o.Pods.IsValid() {
			continue
		}
		dst := &net.IPNet{IP: o.Pods.Addr().AsSlice(), Mask: net.CIDRMask(o.Pods.Bits(), 32)}
		if err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, Gw: o.Address.AsSlice()}); err != nil {
			return fmt.Errorf("add route to pods of %s: %w", o.Name, err)
		}
	}
	return nil
}
