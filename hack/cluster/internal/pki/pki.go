// Package pki issues the certificates and kubeconfig files of the cluster: one authority, and a separate identity for each
// component, so that authorization works as in a real cluster.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// validity is the validity of every certificate. No local cluster lives longer.
const validity = 365 * 24 * time.Hour

// Authority signs certificates and stores them, with their keys, in one directory.
type Authority struct {
	dir     string
	now     time.Time
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte
}

// Pair is the paths of a certificate and its key.
type Pair struct{ Cert, Key string }

// Subject is the subject of a certificate. With Hosts, the certificate serves TLS under those names and addresses; it always
// authenticates a client.
type Subject struct {
	File   string // base name of the files
	Name   string // user name
	Groups []string
	Hosts  []string
}

// NewAuthority creates the authority in dir, valid from an hour before now.
func NewAuthority(dir string, now time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create key directory: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate authority key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "replicatedstore-cluster-ca"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validity),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("sign authority: %w", err)
	}
	a := &Authority{dir: dir, now: now, key: key, certPEM: pemBlock("CERTIFICATE", der)}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	return a, a.save("ca", der, key)
}

// Files returns the files of the authority itself.
func (a *Authority) Files() Pair { return a.pair("ca") }

func (a *Authority) pair(name string) Pair {
	return Pair{Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key")}
}

// Issue signs a certificate for s and stores it.
func (a *Authority) Issue(s Subject) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate key for %s: %w", s.Name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return Pair{}, fmt.Errorf("draw serial number for %s: %w", s.Name, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: s.Name, Organization: s.Groups},
		NotBefore: a.now.Add(-time.Hour), NotAfter: a.now.Add(validity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, host := range s.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if len(s.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate for %s: %w", s.Name, err)
	}
	return a.pair(s.File), a.save(s.File, der, key)
}

// Kubeconfig issues a client certificate for s and writes, at path, a self-contained kubeconfig for server.
func (a *Authority) Kubeconfig(path, server string, s Subject) error {
	pair, err := a.Issue(s)
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(pair.Cert)
	if err != nil {
		return fmt.Errorf("read certificate of %s: %w", s.Name, err)
	}
	key, err := os.ReadFile(pair.Key)
	if err != nil {
		return fmt.Errorf("read key of %s: %w", s.Name, err)
	}
	const name = "replicatedstore"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: a.certPEM}
	config.AuthInfos[s.Name] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: s.Name}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", s.Name, err)
	}
	return nil
}

// SigningKey creates the key pair for signing service account tokens. Cert is the public key.
func (a *Authority) SigningKey() (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return Pair{}, fmt.Errorf("encode service account key: %w", err)
	}
	pair := Pair{Cert: filepath.Join(a.dir, "service-account.pub"), Key: filepath.Join(a.dir, "service-account.key")}
	if err := writeKey(pair.Key, key); err != nil {
		return Pair{}, err
	}
	if err := os.WriteFile(pair.Cert, pemBlock("PUBLIC KEY", public), 0o600); err != nil {
		return Pair{}, fmt.Errorf("write service account key: %w", err)
	}
	return pair, nil
}

func (a *Authority) save(name string, der []byte, key *ecdsa.PrivateKey) error {
	pair := a.pair(name)
	if err := os.WriteFile(pair.Cert, pemBlock("CERTIFICATE", der), 0o600); err != nil {
		return fmt.Errorf("write certificate %s: %w", name, err)
	}
	return writeKey(pair.Key, key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := os.WriteFile(path, pemBlock("EC PRIVATE KEY", der), 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
