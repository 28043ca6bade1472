package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Import loads image archives into the containerd of the machine it runs on: the file at path, or every archive in the
// directory at path.
func Import(path string) error {
	archives := []string{path}
	if info, err := os.Stat(path); err != nil {
		return fmt.Errorf("find image archives: %w", err)
	} else if info.IsDir() {
		if archives, err = filepath.Glob(filepath.Join(path, "*.tar")); err != nil {
			return fmt.Errorf("list image archives: %w", err)
		}
	}
	for _, archive := range archives {
		cmd := exec.Command("ctr", "--namespace", "k8s.io", "images", "import", archive)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("import %s: %w: %s", archive, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
