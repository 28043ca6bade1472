package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

func TestIssuedCertificates(t *testing.T) {
	now := time.Now()
	ca, err := NewAuthority(filepath.Join(t.TempDir(), "pki"), now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(Subject{
		File: "n1", Name: "system:node:n1", Groups: []string{"system:nodes"}, Hosts: []string{"n1", "10.99.0.11"},
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	authority, err := os.ReadFile(ca.Files().Cert)
	if err != nil || !roots.AppendCertsFromPEM(authority) {
		t.Fatalf("load authority: %v", err)
	}
	for _, host := range []string{"n1", "10.99.0.11"} {
		options := x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if _, err := loaded.Leaf.Verify(options); err != nil {
			t.Errorf("serve as %s: %v", host, err)
		}
	}
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "n2", CurrentTime: now}); err == nil {
		t.Error("n1's certificate serves as n2")
	}
	if s := loaded.Leaf.Subject; s.CommonName != "system:node:n1" || len(s.Organization) != 1 || s.Organization[0] != "system:nodes" {
		t.Errorf("subject = %v", s)
	}
	if info, err := os.Stat(pair.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
}

func TestClientCertificateServesNobody(t *testing.T) {
	ca, err := NewAuthority(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := ca.Kubeconfig(path, "https://127.0.0.1:1", Subject{File: "admin", Name: "admin", Groups: []string{"system:masters"}}); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if config.Insecure || len(config.CAData) == 0 || config.Host != "https://127.0.0.1:1" {
		t.Errorf("config = %+v", config)
	}
	pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil {
		t.Fatal(err)
	}
	for _, usage := range pair.Leaf.ExtKeyUsage {
		if usage == x509.ExtKeyUsageServerAuth {
			t.Error("a client's certificate may serve")
		}
	}
}
