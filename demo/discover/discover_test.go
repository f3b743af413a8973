package discover

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func announce(t *testing.T, tmp, folder, gateway string, age time.Duration) {
	t.Helper()
	dir := filepath.Join(tmp, folder)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Announce(dir, URLs{Gateway: gateway, Services: map[string]string{"uservice3": "http://127.0.0.1:8083"}}); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(filepath.Join(dir, fileName), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestAnnouncedRunsAreFoundTheLatestFirst(t *testing.T) {
	tmp := t.TempDir()
	announce(t, tmp, Prefix+"11-abc", "http://127.0.0.1:8000", time.Hour)
	announce(t, tmp, Prefix+"12-def", "http://127.0.0.1:8001", time.Minute)
	runs := Find(tmp)
	if len(runs) != 2 || runs[0].PID != 12 || runs[1].PID != 11 {
		t.Fatalf("found %+v, want the runs of the processes 12 and 11", runs)
	}
	if got := runs[0].URLs; got.Gateway != "http://127.0.0.1:8001" || got.Services["uservice3"] != "http://127.0.0.1:8083" {
		t.Errorf("addresses are %+v", got)
	}
	left, err := filepath.Glob(filepath.Join(tmp, Prefix+"*", "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("folders hold %v, want one file each (%v)", left, err)
	}
}

func TestWhatIsNoAnnouncementIsLeftOut(t *testing.T) {
	tmp := t.TempDir()
	announce(t, tmp, Prefix+"word-abc", "http://127.0.0.1:8000", 0)
	announce(t, tmp, Prefix+"13-without-gateway", "", 0)
	announce(t, tmp, "another-14-x", "http://127.0.0.1:8000", 0)
	for name, content := range map[string]string{"15-no-json": "{", "16-empty": ""} {
		dir := filepath.Join(tmp, Prefix+name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(tmp, Prefix+"17-folder", fileName), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(tmp, Prefix+"18-building"), 0o700); err != nil {
		t.Fatal(err)
	}
	if runs := Find(tmp); len(runs) != 0 {
		t.Errorf("found %+v, want none", runs)
	}
	if runs := Find(filepath.Join(tmp, "missing")); len(runs) != 0 {
		t.Errorf("found %+v in a folder that is not there", runs)
	}
}
