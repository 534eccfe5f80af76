import type { EventView } from "../../api/types";
import type { IconName } from "../../ui/icon";

interface Names {
  user: string;
  actor: string | null;
  details: Readonly<Record<string, unknown>>;
}

interface Kind {
  /** In the filter. */
  label: string;
  icon: IconName;
  say: (names: Names) => string;
}

/** Where nobody is named as having done it, it was done on the server itself. */
const by = ({ actor }: Names): string => actor ?? "The command line";
const named = (value: unknown): string => (typeof value === "string" && value !== "" ? ` “${value}”` : "");

export const KINDS: Readonly<Record<EventView["kind"], Kind>> = {
  registered: { label: "Registered", icon: "user", say: ({ user }) => `${user} registered.` },
  login: { label: "Logged in", icon: "laptop", say: ({ user }) => `${user} logged in.` },
  login_failed: { label: "Login failed", icon: "warning", say: ({ user }) => `A login to ${user} failed.` },
  login_throttled: {
    label: "Login slowed down",
    icon: "warning",
    say: ({ user }) => `Logins to ${user} have to wait after too many failures.`,
  },
  logout: { label: "Logged out", icon: "leave", say: ({ user }) => `${user} logged out.` },
  logout_everywhere: {
    label: "Logged out everywhere",
    icon: "leave",
    say: ({ user }) => `${user} logged out everywhere.`,
  },
  session_revoked: { label: "Login ended", icon: "leave", say: ({ user }) => `${user} ended a login of theirs.` },
  refresh_reused: {
    label: "Login ended for safety",
    icon: "warning",
    say: ({ user }) => `A login of ${user} was ended: its token came a second time, as if it had been stolen.`,
  },
  password_changed: { label: "Password changed", icon: "key", say: ({ user }) => `${user} changed their password.` },
  password_reset: {
    label: "Password reset",
    icon: "key",
    say: (names) => `${by(names)} reset the password of ${names.user}.`,
  },
  key_created: {
    label: "Key made",
    icon: "key",
    say: ({ user, details }) => `${user} made the API key${named(details.name)}.`,
  },
  key_revoked: {
    label: "Key revoked",
    icon: "key",
    say: ({ user, details }) => `${user} revoked the API key${named(details.name)}.`,
  },
  keys_rotated: { label: "Signing keys renewed", icon: "retry", say: () => "The signing keys were renewed." },
  invitation_created: {
    label: "Invitation made",
    icon: "mail",
    say: (names) => `${by(names)} made an invitation.`,
  },
  invitation_revoked: {
    label: "Invitation revoked",
    icon: "mail",
    say: (names) => `${by(names)} revoked an invitation.`,
  },
  user_added: { label: "Account added", icon: "user", say: (names) => `${by(names)} added ${names.user}.` },
  user_disabled: { label: "Account disabled", icon: "close", say: (names) => `${by(names)} disabled ${names.user}.` },
  user_enabled: { label: "Account enabled", icon: "check", say: (names) => `${by(names)} enabled ${names.user}.` },
  admin_granted: {
    label: "Made administrator",
    icon: "shield",
    say: (names) => `${by(names)} made ${names.user} an administrator.`,
  },
  admin_revoked: { label: "Made member", icon: "shield", say: (names) => `${by(names)} made ${names.user} a member.` },
  limits_changed: {
    label: "Limits changed",
    icon: "gauge",
    say: (names) => `${by(names)} changed the limits of ${names.user}.`,
  },
  account_exported: { label: "Data exported", icon: "save", say: ({ user }) => `${user} exported their data.` },
  account_deleted: {
    label: "Account deleted",
    icon: "trash",
    say: ({ user, actor }) => (actor === null ? `${user} was deleted by its owner.` : `${actor} deleted ${user}.`),
  },
};

/** What happened, in a sentence. `emailOf` knows the accounts that there still are. */
export function sentenceOf(event: EventView, emailOf: (userId: string) => string | null): string {
  const { kind, user_id: userId, actor_id: actorId, details } = event;
  const name = (id: string): string => emailOf(id) ?? `a deleted account (${id.slice(0, 6)})`;
  const user = userId === null ? "an unknown account" : name(userId);
  const actor = actorId === null || actorId === userId ? null : name(actorId);
  const said = KINDS[kind].say({ user, actor, details });
  return said.replace(/^a(?=n? (deleted|unknown) )/, "A");
}
