"""Audit of the built site in a headless browser: axe-core's rules, requests to elsewhere, sideways scrolling, sizes.

`make audit` builds the site, fetches axe-core and runs this: every page at 1280 and 390 pixels, light and dark. It
prints one line per fault, then the number of pages and the largest ones, and ends with status 1 if there was a fault.
"""

import http.server
import json
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from browsers import installed_browser

ROOT = Path(__file__).parents[1]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (1280, 390)
SCHEMES = {"dark": 0, "light": 1}
"""Preferred colour scheme -> its number in Chromium."""
AUDIT = """<!doctype html><title>audit</title><iframe id="frame" style="border: 0"></iframe>
<script>
const seconds = number => new Promise(resolve => setTimeout(resolve, 1000 * number));
async function audit(address, width, axe) {
  const frame = document.getElementById("frame");
  frame.style.cssText = `border: 0; width: ${width}px; height: 1000px`;
  await new Promise(resolve => { frame.onload = resolve; frame.src = address; });
  await seconds(0.2);
  const page = frame.contentWindow;
  page.eval(axe);
  const report = await page.axe.run(page.document, {resultTypes: ["violations"]});
  const sticksOut = element => element.getBoundingClientRect().right > width + 1;
  const requests = page.performance.getEntriesByType("resource").map(entry => entry.name);
  return {
    faults: report.violations.map(rule => `${rule.id} (${rule.nodes.length}): ${rule.nodes[0].html.slice(0, 200)}`),
    elsewhere: requests.filter(name => !name.startsWith(location.origin) && !name.startsWith("data:")),
    widest: [...page.document.querySelectorAll("body *")].find(sticksOut)?.outerHTML ?? "",
    wide: page.document.documentElement.scrollWidth - width,
  };
}
addEventListener("load", async () => {
  const results = [];
  try {
    const axe = await (await fetch("/axe")).text();
    for (const address of PAGES) for (const width of WIDTHS)
      results.push({address, width, ...await audit(address, width, axe)});
  } catch (error) { results.push({address: "", width: 0, faults: [String(error)], elsewhere: [], wide: 0}); }
  await fetch("/results", {method: "POST", body: JSON.stringify(results)});
});
</script>
"""


class Site(http.server.SimpleHTTPRequestHandler):
    """Serves the site, axe-core and the auditing page, and receives the results."""

    results: list[dict[str, Any]]
    received = threading.Event()
    pages: list[str]

    def do_GET(self) -> None:
        if self.path == "/axe":
            self._answer(AXE.read_bytes(), "text/plain; charset=utf-8")
        elif self.path == "/audit":
            audit = AUDIT.replace("PAGES", json.dumps(self.pages)).replace("WIDTHS", json.dumps(WIDTHS))
            self._answer(audit.encode(), "text/html; charset=utf-8")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        Site.results = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"", "text/plain")
        Site.received.set()

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def audited(browser: str, address: str, scheme: str) -> list[dict[str, Any]]:
    """The results of every page at every width, under one colour scheme."""
    Site.received.clear()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        head = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        appearance = ["--window-size=1400,1200", f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"]
        command = [*head, *appearance, "--remote-debugging-port=0", f"{address}/audit"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not Site.received.wait(1800):
                sys.exit("the browser did not finish within 30 minutes")
        finally:
            process.terminate()
            process.wait()
    return Site.results


def main(folder: Path, names: list[str]) -> int:
    Site.pages = names or sorted(str(page.relative_to(folder)) for page in folder.rglob("*.html"))
    browser = installed_browser() or sys.exit("no browser on PATH")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    faults = 0
    for scheme in SCHEMES:
        for result in audited(browser, f"http://127.0.0.1:{server.server_port}", scheme):
            lines = [*result["faults"], *(f"requests {name}" for name in result["elsewhere"])]
            lines += [f"{result['wide']} pixels too wide: {result['widest'][:200]}"] if result["wide"] > 0 else []
            for line in lines:
                print(f"{result['address']} {result['width']} {scheme}: {' '.join(line.split())}")
            faults += len(lines)
    sizes = sorted(((folder / page).stat().st_size, page) for page in Site.pages)
    largest = ", ".join(f"{page} {size / 1024:.0f} KiB" for size, page in sizes[-3:])
    looks = f"{len(Site.pages)} pages, {len(WIDTHS)} widths, {len(SCHEMES)} colour schemes"
    print(f"{looks}: {faults} faults; largest: {largest}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
