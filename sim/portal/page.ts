import { csrfField } from './access.ts'
import { html, type Fragment, type Html } from './html.ts'

/** The parts of the portal, in the order of its menu. */
export const sections = {
  overview: { path: '/', name: 'Overview' },
  enrollments: { path: '/enrollments', name: 'Enrollments' },
  certificates: { path: '/certificates', name: 'CA certificates' },
  registrations: { path: '/registrations', name: 'Registrations' },
  devices: { path: '/devices', name: 'Devices' },
  jobs: { path: '/jobs', name: 'Jobs' },
  faults: { path: '/faults', name: 'Faults' },
} as const
export type Section = keyof typeof sections

/** What a page is written with. */
export interface PageTools {
  /**
   * A part of the page that is sent again whenever it has changed. Nothing that a person is writing may stand in it.
   *
   * @param name - unique on the page
   */
  readonly live: (name: string, content: Fragment) => Html
  /** A form that the portal will take: it carries the secret of this portal. Files may stand in it. */
  readonly form: (action: string, content: Fragment) => Html
}

/** One page of the portal. */
export interface Page {
  readonly title: string
  readonly section: Section
  /** Where one finds oneself, above the title: the pages above this one. */
  readonly above?: readonly { readonly path: string; readonly name: string }[]
  /** Written again for each change of its live parts. */
  readonly body: (tools: PageTools) => Html
}

/** What stands above a page once. */
export interface Notice {
  readonly tone: 'good' | 'bad'
  readonly text: string
}

/** The live parts of a page at this moment, by their ids. */
export function liveParts(page: Page, csrf: string): ReadonlyMap<string, string> {
  const parts = new Map<string, string>()
  page.body(toolsWith(csrf, (id, content) => parts.set(id, content)))
  return parts
}

/**
 * A page as it is sent.
 *
 * @param path - where it is, and where its live parts come from
 */
export function document(page: Page, path: string, csrf: string, notice?: Notice): Html {
  const { title, section, above = [], body } = page
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title} · leafkeeper-sim</title>
        <link rel="icon" href="/icon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href="/portal.css" />
        <script type="module" src="/live.js"></script>
      </head>
      <body data-live="${path}">
        <a class="skip" href="#main">Skip to the content</a>
        <header class="top">
          <a class="brand" href="/">leafkeeper-sim</a>
          <p class="marked">A simulated Azure IoT on this machine</p>
          <p class="connection" id="connection" role="status"></p>
        </header>
        <div class="columns">
          <nav aria-label="Portal">
            <ul>
              ${Object.entries(sections).map(([key, { path: to, name }]) => {
                const isHere = key === section
                return html`<li>
                  <a href="${to}" ${isHere && html`aria-current="${above.length === 0 ? 'page' : 'true'}"`}
                    >${name}</a
                  >
                </li>`
              })}
            </ul>
          </nav>
          <main id="main" tabindex="-1">
            ${
              above.length > 0 &&
              html`<nav aria-label="Breadcrumb" class="breadcrumb">
                <ol>
                  ${above.map((one) => html`<li><a href="${one.path}">${one.name}</a></li>`)}
                </ol>
              </nav>`
            }
            <h1>${title}</h1>
            ${
              notice !== undefined &&
              html`<p class="notice ${notice.tone}" role="${notice.tone === 'good' ? 'status' : 'alert'}">
                ${notice.text}
              </p>`
            }
            ${body(toolsWith(csrf, () => undefined))}
          </main>
        </div>
      </body>
    </html>`
}

function toolsWith(csrf: string, written: (id: string, content: string) => void): PageTools {
  return {
    live: (name, content) => {
      const id = `live-${name}`
      const inner = html`${content}`
      written(id, inner.toString())
      return html`<div id="${id}" class="live">${inner}</div>`
    },
    form: (action, content) =>
      html`<form method="post" action="${action}" enctype="multipart/form-data">
        <input type="hidden" name="${csrfField}" value="${csrf}" />
        ${content}
      </form>`,
  }
}
