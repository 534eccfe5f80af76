import type { IconName } from "../../ui/icon";

/** The first that a user agent names wins: they all claim to be their ancestors, too. */
const PROGRAMS: readonly (readonly [RegExp, string])[] = [
  [/\bEdgA?\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\b(Firefox|FxiOS)\//, "Firefox"],
  [/\bHeadlessChrome\//, "Chrome"],
  [/\b(Chrome|CriOS|Chromium)\//, "Chrome"],
  [/\bSafari\//, "Safari"],
  [/^curl\//, "curl"],
  [/^python-(httpx|requests)\//, "Python"],
  [/^(axios|node|undici)\b/i, "Node.js"],
];

const SYSTEMS: readonly (readonly [RegExp, string, IconName])[] = [
  [/\biPhone\b/, "iPhone", "phone"],
  [/\biPad\b/, "iPad", "phone"],
  [/\bAndroid\b/, "Android", "phone"],
  [/\bCrOS\b/, "ChromeOS", "laptop"],
  [/\bWindows\b/, "Windows", "laptop"],
  [/\bMac OS X\b/, "Mac", "laptop"],
  [/\bLinux\b/, "Linux", "laptop"],
];

/** A device in words, by what it says of itself: "Firefox on Windows", "Safari on iPhone", "curl". */
export function deviceOf(userAgent: string): { name: string; icon: IconName } {
  const program = PROGRAMS.find(([pattern]) => pattern.test(userAgent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(userAgent));
  if (!system) return { name: program ?? "An unknown program", icon: program ? "terminal" : "laptop" };
  return { name: `${program ?? "A browser"} on ${system[1]}`, icon: system[2] };
}

/** Where an address is, as far as it says so itself; nothing is looked up. */
export function placeOf(ip: string): string {
  if (ip === "") return "place unknown";
  const plain = ip.replace(/^::ffff:/, "");
  if (plain.startsWith("127.") || plain === "::1") return "on the server itself";
  const near = /^(10|192\.168|172\.(1[6-9]|2\d|3[01])|169\.254)\./.test(plain) || /^f([cd]|e[89ab])/i.test(plain);
  return near ? `local network, ${plain}` : plain;
}
