import reactHooks from "eslint-plugin-react-hooks";
import { defineConfig } from "eslint/config";
import { readdirSync } from "node:fs";
import tseslint from "typescript-eslint";

/** Arrows between folders: app > features > (api | stream | ui); features are strangers to each other. */
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
  { ignores: ["node_modules", "src/api/wire.ts"] },
  {
    files: ["src/**/*.{ts,tsx}", "vite.config.ts"],
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
  forbid(["src/api/**"], ["app", "features", "stream", "ui"], "api/ knows only the server."),
  forbid(["src/stream/**"], ["app", "features", "ui"], "stream/ knows only api/."),
  forbid(["src/ui/**"], ["app", "features", "api", "stream"], "ui/ knows nothing of Lorestream."),
  ...features.map((name) =>
    forbid(
      [`src/features/${name}/**`],
      ["app", "features", ...features.filter((other) => other !== name)],
      "A feature imports neither app/ nor another feature; app/ puts them together.",
    ),
  ),
);
