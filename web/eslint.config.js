import reactHooks from "eslint-plugin-react-hooks";
import { defineConfig } from "eslint/config";
import { readdirSync } from "node:fs";
import tseslint from "typescript-eslint";

/**
 * Arrows between folders: app > features > (api | ui) > packages; features are strangers to each other. Packages are
 * named as anybody names them, and know nothing of the page.
 */
const forbid = (files, folders, message) => ({
  files,
  rules: {
    "@typescript-eslint/no-restricted-imports": [
      "error",
      { patterns: [{ regex: `^(\\.\\./)+(${folders.join("|")})(/|$)`, message }] },
    ],
  },
});

const features = readdirSync(new URL("src/features", import.meta.url));

export default defineConfig(
  { ignores: ["node_modules", "packages/*/dist", "src/api/wire.ts", "packages/client/src/wire.ts"] },
  {
    files: ["src/**/*.{ts,tsx}", "packages/*/src/**/*.{ts,tsx}", "vite.config.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    plugins: { "react-hooks": reactHooks },
    rules: {
      ...reactHooks.configs.recommended.rules,
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      eqeqeq: "error",
      "no-console": "error",
      "max-lines": ["error", 250],
    },
  },
  forbid(["src/**"], ["packages"], "A package is imported by its name."),
  forbid(["src/api/**"], ["app", "features", "ui", "packages"], "api/ knows only the server."),
  forbid(["src/ui/**"], ["app", "features", "api", "packages"], "ui/ knows nothing of Lorestream."),
  forbid(
    ["packages/**"],
    ["src", "client", "react"],
    "A package knows others by their names, and nothing of the page.",
  ),
  ...features.map((name) =>
    forbid(
      [`src/features/${name}/**`],
      ["app", "features", "packages", ...features.filter((other) => other !== name)],
      "A feature imports neither app/ nor another feature; app/ puts them together.",
    ),
  ),
);
