import react from "@vitejs/plugin-react";
import { defaultClientConditions, defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

const SOURCE = "lorestream-source";

const API_PATHS = [
  ...["/admin/", "/auth", "/batches", "/collections", "/conversations", "/documents", "/feedback", "/healthz"],
  ...["/models", "/runs", "/search"],
];

export default defineConfig({
  plugins: [react()],
  // The packages beside the page are built with it, from their sources.
  resolve: { conditions: [SOURCE, ...defaultClientConditions] },
  ssr: { resolve: { conditions: [SOURCE, ...defaultServerConditions] } },
  build: {
    outDir: "../src/lorestream/webui",
    emptyOutDir: true,
    // The server's Content-Security-Policy knows neither inline scripts nor data: fonts and styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2023",
  },
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(API_PATHS.map((path) => [path, "http://127.0.0.1:8000"])),
  },
  test: { include: ["{src,packages/*/src}/**/*.test.{ts,tsx}"], testTimeout: 10_000 },
});
