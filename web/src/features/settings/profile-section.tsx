import { useQuery } from "@tanstack/react-query";

import { meQuery } from "../../api/me";
import { logOut } from "../../api/session";
import { useAttempt } from "../../api/use-attempt";
import { Button } from "../../ui/button";
import { formatDay } from "../../ui/format";
import { Badge } from "../../ui/rows";
import { Alert, Panel } from "../../ui/section-page";
import { useTheme } from "../../ui/theme-toggle";
import styles from "./settings.module.css";

export function ProfileSection() {
  const { data: me } = useQuery(meQuery);
  const { attempt, problem, busy } = useAttempt();
  const theme = useTheme();
  return (
    <>
      <Panel title="Account">
        <dl className={styles.facts}>
          <dt>Email</dt>
          <dd data-testid="profile-email">{me?.email}</dd>
          <dt>Member since</dt>
          <dd>{me && formatDay(me.created_at)}</dd>
          <dt>Role</dt>
          <dd>{me && (me.is_admin ? <Badge kind="accent">Administrator</Badge> : "Member")}</dd>
        </dl>
        <Alert>{problem}</Alert>
        <div>
          <Button icon="leave" disabled={busy} onClick={() => attempt(logOut)}>
            Log out
          </Button>
        </div>
      </Panel>
      <Panel title="Appearance" about="Until you choose, Lorestream follows your system.">
        <div>
          <Button icon={theme.icon} onClick={theme.toggle}>
            {theme.label}
          </Button>
        </div>
      </Panel>
    </>
  );
}
