import { expect, it } from "vitest";

import { deviceOf, placeOf } from "./device";

const WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)";

it.each([
  [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/140.0.0.0 Safari/537.36`, "Chrome on Windows"],
  [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/140.0.0.0 Safari/537.36 Edg/140.0`, "Edge on Windows"],
  ["Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0", "Firefox on Linux"],
  [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
    "Safari on Mac",
  ],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", "Safari on iPhone"],
  [`Mozilla/5.0 (Linux; Android 15; Pixel 9) ${WEBKIT} Chrome/140.0.0.0 Mobile Safari/537.36`, "Chrome on Android"],
  ["curl/8.14.1", "curl"],
  ["python-httpx/0.28.1", "Python"],
  ["", "An unknown program"],
])("reads %s", (agent, name) => {
  expect(deviceOf(agent).name).toBe(name);
});

it.each([
  ["127.0.0.1", "on the server itself"],
  ["::1", "on the server itself"],
  ["192.168.1.4", "local network, 192.168.1.4"],
  ["::ffff:10.0.0.7", "local network, 10.0.0.7"],
  ["fd12:3456::1", "local network, fd12:3456::1"],
  ["172.32.0.1", "172.32.0.1"],
  ["203.0.113.9", "203.0.113.9"],
  ["", "place unknown"],
])("places %s", (ip, place) => {
  expect(placeOf(ip)).toBe(place);
});
