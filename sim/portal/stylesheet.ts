/** Lets editors and prettier see what it is. */
const css = String.raw

/** Of the whole portal: two sets of colours, and one column on narrow screens. Text has a contrast of 4.5 at least. */
export const stylesheet = css`
  :root {
    color-scheme: light dark;
    --ground: #f6f7f9;
    --sheet: #ffffff;
    --text: #1b1f24;
    --faint: #57606a;
    --line: #d5dae1;
    --accent: #0a5cad;
    --on-accent: #ffffff;
    --good: #14652f;
    --good-ground: #dff3e4;
    --bad: #a11a1a;
    --bad-ground: #fde7e7;
    --plain-ground: #e9ecf1;
    --g0: #0a5cad;
    --g1: #6b3fa0;
    --g2: #0f6b62;
    --g3: #95470b;
    --bar: #8b98a9;
    --edge: #7a8594;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ground: #0f1419;
      --sheet: #181e25;
      --text: #e6eaef;
      --faint: #a3afbd;
      --line: #323b46;
      --accent: #79b8ff;
      --on-accent: #0b1420;
      --good: #7ee2a0;
      --good-ground: #14321f;
      --bad: #ff9d9d;
      --bad-ground: #44191b;
      --plain-ground: #2a323c;
      --g0: #2468ad;
      --g1: #7a52ad;
      --g2: #1b766d;
      --g3: #9c5216;
      --bar: #6d7b8c;
      --edge: #77869a;
    }
  }
  * {
    box-sizing: border-box;
  }
  body {
    margin: 0;
    background: var(--ground);
    color: var(--text);
    font:
      1rem/1.5 system-ui,
      'Segoe UI',
      'DejaVu Sans',
      sans-serif;
  }
  h1 {
    margin: 0 0 1rem;
    font-size: 1.6rem;
    line-height: 1.2;
    overflow-wrap: anywhere;
  }
  h2 {
    margin: 2rem 0 0.6rem;
    font-size: 1.15rem;
  }
  h3 {
    margin: 1.5rem 0 0.5rem;
    font-size: 1rem;
  }
  p {
    margin: 0 0 0.75rem;
  }
  a {
    color: var(--accent);
  }
  code,
  pre {
    font-family: ui-monospace, 'DejaVu Sans Mono', monospace;
    font-size: 0.9em;
    overflow-wrap: anywhere;
  }
  :focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
    border-radius: 2px;
  }
  main:focus {
    outline: none;
  }
  .skip {
    position: absolute;
    left: -100rem;
  }
  .skip:focus {
    left: 1rem;
    top: 0.5rem;
    z-index: 1;
    padding: 0.5rem 1rem;
    background: var(--sheet);
  }
  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .top {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    gap: 0 1rem;
    padding: 0.7rem 1.5rem;
    background: var(--sheet);
    border-bottom: 1px solid var(--line);
  }
  .top p {
    margin: 0;
    color: var(--faint);
    font-size: 0.9rem;
  }
  .brand {
    color: var(--text);
    font-weight: 700;
    text-decoration: none;
  }
  .connection {
    margin-left: auto !important;
  }
  .columns {
    display: grid;
    grid-template-columns: 12rem minmax(0, 1fr);
    gap: 2rem;
    max-width: 78rem;
    margin: 0 auto;
    padding: 1.5rem;
  }
  .columns > nav ul,
  .breadcrumb ol {
    margin: 0;
    padding: 0;
    list-style: none;
  }
  .columns > nav a {
    display: block;
    padding: 0.4rem 0.75rem;
    border-left: 3px solid transparent;
    color: var(--text);
    text-decoration: none;
  }
  .columns > nav a:hover {
    text-decoration: underline;
  }
  .columns > nav a[aria-current] {
    border-left-color: var(--accent);
    background: var(--sheet);
    font-weight: 600;
  }
  .breadcrumb ol {
    display: flex;
    gap: 0.5rem;
    font-size: 0.9rem;
  }
  .breadcrumb li::after {
    content: '›';
    margin-left: 0.5rem;
    color: var(--faint);
  }
  .none,
  .detail {
    color: var(--faint);
  }
  table {
    width: 100%;
    border-collapse: collapse;
    background: var(--sheet);
    border: 1px solid var(--line);
    font-size: 0.95rem;
  }
  th,
  td {
    padding: 0.5rem 0.75rem;
    border-bottom: 1px solid var(--line);
    text-align: left;
    vertical-align: top;
  }
  th {
    color: var(--faint);
    font-size: 0.85rem;
    font-weight: 600;
    white-space: nowrap;
  }
  td {
    overflow-wrap: anywhere;
  }
  tbody tr:last-child td {
    border-bottom: none;
  }
  .facts {
    display: grid;
    grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr));
    gap: 0.75rem 1.5rem;
    margin: 0 0 1rem;
    padding: 1rem;
    background: var(--sheet);
    border: 1px solid var(--line);
  }
  .facts dt {
    color: var(--faint);
    font-size: 0.85rem;
  }
  .facts dd {
    margin: 0;
    overflow-wrap: anywhere;
  }
  .state {
    display: inline-block;
    padding: 0 0.5rem;
    border-radius: 0.75rem;
    background: var(--plain-ground);
    font-size: 0.9em;
    white-space: nowrap;
  }
  .state.good {
    background: var(--good-ground);
    color: var(--good);
  }
  .state.bad {
    background: var(--bad-ground);
    color: var(--bad);
  }
  .certificate > * {
    display: block;
  }
  .notice {
    padding: 0.75rem 1rem;
    border-left: 4px solid;
  }
  .notice.good {
    background: var(--good-ground);
    color: var(--good);
  }
  .notice.bad {
    background: var(--bad-ground);
    color: var(--bad);
  }
  form {
    margin: 0 0 1rem;
  }
  fieldset {
    margin: 0 0 1rem;
    padding: 0.75rem 1rem;
    border: 1px solid var(--line);
    background: var(--sheet);
  }
  legend,
  label {
    font-weight: 600;
    font-size: 0.95rem;
  }
  .field {
    margin: 0 0 1rem;
    max-width: 32rem;
  }
  .field > label {
    display: block;
    margin-bottom: 0.2rem;
  }
  .hint {
    margin: 0.2rem 0 0;
    color: var(--faint);
    font-size: 0.9rem;
  }
  input:not([type='checkbox'], [type='radio'], [type='hidden']),
  select,
  textarea {
    width: 100%;
    min-height: 2.5rem;
    padding: 0.4rem 0.6rem;
    border: 1px solid var(--edge);
    border-radius: 4px;
    background: var(--sheet);
    color: var(--text);
    font: inherit;
  }
  textarea,
  .code {
    font-family: ui-monospace, 'DejaVu Sans Mono', monospace !important;
    font-size: 0.9rem !important;
  }
  .radios label {
    display: inline-block;
    margin-right: 1.5rem;
    padding: 0.3rem 0;
    font-weight: 400;
  }
  input[type='checkbox'],
  input[type='radio'] {
    width: 1.1rem;
    height: 1.1rem;
    margin: 0 0.3rem 0 0;
    vertical-align: -0.15rem;
    accent-color: var(--accent);
  }
  .row {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr));
    gap: 0 1rem;
    align-items: start;
  }
  .slots {
    grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr));
    align-items: stretch;
  }
  button,
  .button {
    display: inline-block;
    min-height: 2.5rem;
    padding: 0.4rem 1rem;
    border: 1px solid var(--accent);
    border-radius: 4px;
    background: var(--accent);
    color: var(--on-accent);
    font: inherit;
    font-weight: 600;
    text-decoration: none;
    cursor: pointer;
  }
  button.plain,
  .button {
    background: var(--sheet);
    color: var(--accent);
  }
  button.danger {
    border-color: var(--bad);
    background: var(--sheet);
    color: var(--bad);
  }
  button:hover,
  .button:hover {
    text-decoration: underline;
  }
  td form {
    margin: 0;
  }
  td button {
    min-height: 2rem;
    padding: 0.1rem 0.75rem;
    font-size: 0.9rem;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: 0 1rem;
  }
  .live + p {
    margin-top: 0.75rem;
  }
  details summary {
    padding: 0.4rem 0;
    color: var(--bad);
    cursor: pointer;
  }
  form:has([value='intermediate']:checked) .when-ca,
  form:has([value='ca']:checked) .when-intermediate,
  form:has([value='scheduleDeviceMethod']:checked) .when-twin,
  form:has([value='scheduleUpdateTwin']:checked) .when-method {
    display: none;
  }
  pre {
    margin: 0.5rem 0;
    padding: 0.75rem;
    overflow-x: auto;
    background: var(--plain-ground);
    color: var(--text);
    overflow-wrap: normal;
  }
  .notice p {
    margin: 0;
  }
  .steps {
    padding-left: 1.25rem;
  }
  .faults {
    margin: 0;
    padding: 0;
    list-style: none;
  }
  .faults > li {
    padding: 0.5rem 1rem 0.75rem;
    background: var(--sheet);
    border: 1px solid var(--line);
    border-top: none;
  }
  .faults > li:first-child {
    border-top: 1px solid var(--line);
  }
  .faults > li,
  .faults form {
    display: grid;
    grid-template-columns: minmax(0, 1fr) 19rem;
    gap: 0.25rem 1.5rem;
    align-items: center;
    margin: 0;
  }
  .faults form {
    grid-template-columns: 11.5rem minmax(0, 1fr);
  }
  .faults h3 {
    margin: 0;
  }
  .faults .row {
    grid-template-columns: repeat(3, minmax(0, 1fr));
  }
  .faults .row .field:first-child:nth-last-child(2) {
    grid-column-start: 2;
  }
  .faults .field {
    margin: 0;
  }
  .faults .field > label {
    font-size: 0.8rem;
    font-weight: 400;
    color: var(--faint);
  }
  .faults input,
  .faults select {
    min-height: 2rem !important;
    padding: 0.1rem 0.4rem !important;
  }
  .faults .live {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: end;
    gap: 0.25rem 0.75rem;
  }
  .chart {
    display: block;
    width: 100%;
    background: var(--sheet);
    border: 1px solid var(--line);
  }
  .chart .at {
    overflow: visible;
  }
  .g0 {
    fill: var(--g0);
  }
  .g1 {
    fill: var(--g1);
  }
  .g2 {
    fill: var(--g2);
  }
  .g3 {
    fill: var(--g3);
  }
  .generation-name {
    fill: #ffffff;
    font-size: 13px;
  }
  .axis {
    stroke: var(--line);
  }
  .axis-name {
    fill: var(--faint);
    font-size: 12px;
  }
  .bar,
  .mark.bar {
    fill: var(--bar);
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 0.25rem 1.25rem;
    margin: 0.5rem 0 0;
    padding: 0;
    list-style: none;
    color: var(--faint);
    font-size: 0.85rem;
  }
  .legend svg {
    vertical-align: -0.25rem;
  }
  .mark.roll {
    fill: var(--accent);
  }
  .mark.assigned {
    fill: var(--good);
  }
  .mark.refused {
    fill: none;
    stroke: var(--bad);
    stroke-width: 3;
  }
  .log {
    margin: 0;
    padding: 0;
    list-style: none;
    background: var(--sheet);
    border: 1px solid var(--line);
  }
  .entry {
    display: grid;
    grid-template-columns: 5.5rem minmax(0, 1fr);
    padding: 0.4rem 0.75rem;
    border-left: 4px solid var(--line);
    border-bottom: 1px solid var(--line);
  }
  .entry p {
    margin: 0;
    overflow-wrap: anywhere;
  }
  .entry time {
    color: var(--faint);
    font-weight: 400;
  }
  .entry.good {
    border-left-color: var(--good);
  }
  .entry.bad {
    border-left-color: var(--bad);
  }
  .entry.roll {
    font-weight: 600;
  }
  @media (max-width: 48rem) {
    .columns {
      display: block;
      padding: 1rem;
    }
    .top {
      padding: 0.7rem 1rem;
    }
    .marked {
      display: none;
    }
    .columns > nav {
      margin: -1rem -1rem 1rem;
      border-bottom: 1px solid var(--line);
    }
    .columns > nav ul {
      display: flex;
      flex-wrap: wrap;
    }
    .columns > nav a {
      padding: 0.6rem 0.75rem;
      border-left: none;
      border-bottom: 3px solid transparent;
    }
    .columns > nav a[aria-current] {
      border-bottom-color: var(--accent);
    }
    .faults > li,
    .faults form {
      grid-template-columns: minmax(0, 1fr);
    }
    .faults .live {
      justify-content: start;
    }
    .faults .row .field:first-child {
      grid-column-start: auto !important;
    }
    thead {
      position: absolute;
      width: 1px;
      height: 1px;
      overflow: hidden;
      clip-path: inset(50%);
    }
    table,
    tbody,
    tr {
      display: block;
    }
    table {
      border: none;
      background: none;
    }
    tr {
      margin-bottom: 0.75rem;
      padding: 0.5rem 0.75rem;
      background: var(--sheet);
      border: 1px solid var(--line);
    }
    td {
      display: grid;
      grid-template-columns: 7.5rem minmax(0, 1fr);
      padding: 0.15rem 0;
      border: none;
    }
    td::before {
      content: attr(data-heading);
      color: var(--faint);
      font-size: 0.85rem;
    }
  }
`

/** A leaf. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#1a7f4b" d="M27 4C12 4 5 11 5 19c0 3 1 5 2 6l-3 4 2 1 3-4c8 2 18-3 18-22zM9 24c3-6 8-10 13-13-6 4-10 8-12 13z"/></svg>
`
