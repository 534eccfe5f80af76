import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { meQuery } from "../../api/me";
import { messageOf } from "../../api/message";
import { logOut } from "../../api/session";
import { Menu, MenuItem } from "../../ui/menu";
import { useTheme } from "../../ui/theme-toggle";
import styles from "./account-bar.module.css";

interface Props {
  onOpen: (page: "settings" | "administration") => void;
}

/** Who is logged in, and the menu of what is theirs. */
export function AccountBar({ onOpen }: Props) {
  const { data: me } = useQuery(meQuery);
  const [problem, setProblem] = useState<string | null>(null);
  const theme = useTheme();
  const leave = () => {
    logOut().catch((error: unknown) => setProblem(messageOf(error)));
  };
  const email = me?.email ?? "";
  return (
    <div className={styles.bar}>
      {problem && (
        <p role="alert" className={styles.problem}>
          {problem}
        </p>
      )}
      <Menu
        label={`Account ${email}`}
        data-testid="account-menu"
        face={
          <>
            <span className={styles.initial} aria-hidden="true">
              {Array.from(email)[0]}
            </span>
            <span className={styles.email} title={email}>
              {email}
            </span>
          </>
        }
      >
        <MenuItem icon="settings" onClick={() => onOpen("settings")} data-testid="open-settings">
          Settings
        </MenuItem>
        {me?.is_admin && (
          <MenuItem icon="shield" onClick={() => onOpen("administration")} data-testid="open-administration">
            Administration
          </MenuItem>
        )}
        <MenuItem icon={theme.icon} onClick={theme.toggle} data-testid="theme-toggle">
          {theme.label}
        </MenuItem>
        <MenuItem icon="leave" onClick={leave} data-testid="logout">
          Log out
        </MenuItem>
      </Menu>
    </div>
  );
}
