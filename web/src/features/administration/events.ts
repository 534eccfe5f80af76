import type { EventView } from "../../api/types";
import type { IconName } from "../../ui/icon";

interface Names {
  /** Whose account it is. */
  user: string;
  /** Who did it. */
  by: string;
  /** The account, as what was done to it is said of it. */
  whom: string;
  details: Readonly<Record<string, unknown>>;
}

interface Kind {
  /** In the filter. */
  label: string;
  icon: IconName;
  say: (names: Names) => string;
}

/** "(read, ask)" */
const within = (scopes: unknown): string => (Array.isArray(scopes) ? ` (${scopes.join(", ")})` : "");

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
    say: ({ by, whom }) => `${by} reset the password of ${whom}.`,
  },
  key_created: {
    label: "Key made",
    icon: "key",
    say: ({ user, details }) => `${user} made an API key${within(details.scopes)}.`,
  },
  key_revoked: {
    label: "Key revoked",
    icon: "key",
    say: ({ user }) => `${user} revoked an API key.`,
  },
  keys_rotated: { label: "Signing keys renewed", icon: "retry", say: () => "The signing keys were renewed." },
  invitation_created: {
    label: "Invitation made",
    icon: "mail",
    say: ({ by }) => `${by} made an invitation.`,
  },
  invitation_revoked: {
    label: "Invitation revoked",
    icon: "mail",
    say: ({ by }) => `${by} revoked an invitation.`,
  },
  user_added: { label: "Account added", icon: "user", say: ({ by, whom }) => `${by} added ${whom}.` },
  user_disabled: { label: "Account disabled", icon: "close", say: ({ by, whom }) => `${by} disabled ${whom}.` },
  user_enabled: { label: "Account enabled", icon: "check", say: ({ by, whom }) => `${by} enabled ${whom}.` },
  admin_granted: {
    label: "Made administrator",
    icon: "shield",
    say: ({ by, whom }) => `${by} made ${whom} an administrator.`,
  },
  admin_revoked: { label: "Made member", icon: "shield", say: ({ by, whom }) => `${by} made ${whom} a member.` },
  limits_changed: {
    label: "Limits changed",
    icon: "gauge",
    say: ({ by, whom }) => `${by} changed the limits of ${whom}.`,
  },
  account_exported: { label: "Data exported", icon: "save", say: ({ user }) => `${user} exported their data.` },
  account_deleted: {
    label: "Account deleted",
    icon: "trash",
    say: ({ by, whom }) => `${by} deleted ${whom}.`,
  },
};

/** What happened, in a sentence. */
export function sentenceOf(event: EventView): string {
  const { kind, user_id: userId, actor_id: actorId, details } = event;
  const user = userId === null ? "an unknown account" : nameOf(userId, event.email);
  // Where nobody else is named, it was the user, unless it was done on the server itself.
  const self = actorId === null && details.by !== "command line";
  const by = self ? user : actorId === null ? "The command line" : nameOf(actorId, event.actor_email);
  const said = KINDS[kind].say({ user, by, whom: self ? "their own account" : user, details });
  return said.replace(/^a(?=n? (deleted|unknown) )/, "A");
}

const nameOf = (id: string, email: string | null): string => email ?? `a deleted account (${id.slice(0, 6)})`;
