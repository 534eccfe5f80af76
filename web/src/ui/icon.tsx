const PATHS = {
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  trash: "M4 7h16M10 11v6M14 11v6M6 7l1 13h10l1-13M9 7V4h6v3",
  retry: "M4 12a8 8 0 0 1 14-5.3L20 9M20 4v5h-5M20 12a8 8 0 0 1-14 5.3L4 15M4 20v-5h5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.01",
  file: "M6 3h8l4 4v14H6zM14 3v4h4M9 12h6M9 16h6",
  folder: "M3 6h6l2 2.5h10V19H3z",
  library: "M4 5h5v15H4zM9 5h5v15H9zM14.5 6.2l4.6-1.2L22 19l-4.6 1.2z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
  moon: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z",
  leave: "M14 4H5v16h9M10 12h11M17 8l4 4-4 4",
  target: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  left: "M14 6l-6 6 6 6",
  right: "M10 6l6 6-6 6",
  pencil: "M4 20l1-4L16 5l3 3L8 19zM13.5 7.5l3 3",
  more: "M6 12a1 1 0 1 0-2 0 1 1 0 0 0 2 0zM13 12a1 1 0 1 0-2 0 1 1 0 0 0 2 0zM20 12a1 1 0 1 0-2 0 1 1 0 0 0 2 0z",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20",
  minus: "M5 12h14",
  quote: "M9.5 7C6.5 8 5 10 5 13v4h5v-5H7.5c0-2 .8-3 2.5-3.6zM18.5 7c-3 1-4.5 3-4.5 6v4h5v-5h-2.5c0-2 .8-3 2.5-3.6z",
  save: "M12 4v11M6 10l6 6 6-6M5 20h14",
  menu: "M4 7h16M4 12h16M4 17h10",
  "thumb-up": "M7 11v9H4v-9zM7 11l4-7c1.5 0 2.5 1 2.2 2.5L12.5 10H19l-1.5 8.5c-.2.9-.8 1.5-1.7 1.5H7",
  "thumb-down": "M17 13V4h3v9zM17 13l-4 7c-1.5 0-2.5-1-2.2-2.5l.7-3.5H5l1.5-8.5C6.7 4.6 7.3 4 8.2 4H17",
  down: "M12 5v14M6 13l6 6 6-6",
  back: "M19 12H5M11 6l-6 6 6 6",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM8 15a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  shield: "M12 3l7 3v5c0 4.5-3 8-7 10-4-2-7-5.5-7-10V6z",
  key: "M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 12l8-8M16 7l3 3",
  laptop: "M5 5h14v10H5zM2.5 19h19",
  phone: "M7.5 3h9v18h-9zM11 18h2",
  terminal: "M4 5h16v14H4zM8 10l2.5 2L8 14M12.5 15H16",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  "eye-off":
    "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM4 4l16 16",
  user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5",
  users:
    "M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM2.5 19.5c.7-3.5 3-5 6.5-5s5.8 1.5 6.5 5M16 5.5a3.2 3.2 0 0 1 0 6.2M17.5 14.8c2.2.6 3.5 2.1 4 4.7",
  gauge: "M5 20V11M12 20V4M19 20v-6",
  mail: "M3.5 6h17v12h-17zM3.5 7l8.5 6.5L20.5 7",
  list: "M8 7h12M8 12h12M8 17h12M4 7v.01M4 12v.01M4 17v.01",
} as const;

export type IconName = keyof typeof PATHS;

/** Always decoration: the button or text around it carries the name. */
export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill={name === "stop" ? "currentColor" : "none"}
      stroke="currentColor"
      strokeWidth="1.7"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
