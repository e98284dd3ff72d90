import { csrfField } from './access.ts'
import type { Form } from './form.ts'
import { html, type Fragment, type Html } from './html.ts'
import { sections, type Notice, type Page, type PageTools, type Section } from './page.ts'

/** The live parts of a page at this moment, by their ids. */
export function liveParts(page: Page, csrf: string): ReadonlyMap<string, string> {
  const parts = new Map<string, string>()
  page.body(toolsWith(csrf, undefined, (id, content) => parts.set(id, content)))
  return parts
}

/** What a document is made for. */
export interface Occasion {
  readonly notice?: Notice | undefined
  /** The form that was sent from the page and refused. */
  readonly refused?: Form
  /** Whether the page is told of its changes. Default: yes. */
  readonly isLive?: boolean
}

/** A page as it is sent. */
export function document(page: Page, csrf: string, occasion: Occasion = {}): Html {
  const { title, section, path, above = [], body } = page
  const { notice, refused, isLive = true } = occasion
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
      <body ${isLive && html`data-live="${path}"`}>
        <a class="skip" href="#main">Skip to the content</a>
        <header class="top">
          <a class="brand" href="/">leafkeeper-sim</a>
          <p class="marked">A simulated Azure IoT on this machine</p>
          <p class="connection" id="connection" role="status"></p>
        </header>
        <div class="columns">
          ${menu(section, above.length === 0)}
          <main id="main" tabindex="-1">
            ${breadcrumb(above)}
            <h1>${title}</h1>
            ${shownNotice(notice)} ${body(toolsWith(csrf, refused, () => undefined))}
          </main>
        </div>
      </body>
    </html>`
}

function menu(section: Section, isItself: boolean): Html {
  const link = ([key, { path, name }]: readonly [
    string,
    { readonly path: string; readonly name: string },
  ]): Html =>
    html`<li>
      <a href="${path}" ${key === section && html`aria-current="${isItself ? 'page' : 'true'}"`}>${name}</a>
    </li>`
  return html`<nav aria-label="Portal">
    <ul>
      ${Object.entries(sections).map(link)}
    </ul>
  </nav>`
}

function breadcrumb(above: NonNullable<Page['above']>): Fragment {
  if (above.length === 0) return undefined
  return html`<nav aria-label="Breadcrumb" class="breadcrumb">
    <ol>
      ${above.map(({ path, name }) => html`<li><a href="${path}">${name}</a></li>`)}
    </ol>
  </nav>`
}

function shownNotice(notice: Notice | undefined): Fragment {
  if (notice === undefined) return undefined
  const { tone, text, detail } = notice
  return html`<div class="notice ${tone}" role="${tone === 'good' ? 'status' : 'alert'}">
    <p>${text}</p>
    ${detail !== undefined && html`<pre tabindex="0">${detail}</pre>`}
  </div>`
}

function toolsWith(
  csrf: string,
  refused: Form | undefined,
  written: (id: string, content: string) => void,
): PageTools {
  return {
    live: (name, content) => {
      const id = `live-${name}`
      const inner = html`${content}`
      written(id, inner.toString())
      return html`<div id="${id}" class="live">${inner}</div>`
    },
    form: (action, content, id) =>
      html`<form
        method="post"
        action="${action}"
        enctype="multipart/form-data"
        ${id !== undefined && html`id="${id}"`}
      >
        <input type="hidden" name="${csrfField}" value="${csrf}" />
        ${content}
      </form>`,
    written: (field, otherwise) => refused?.text(field) ?? otherwise,
    ticked: (field, otherwise) => refused?.isTicked(field) ?? otherwise,
  }
}
