import type { Context, Hono } from 'hono'
import type { SimulatedCloud } from '../cloud.ts'
import type { Access } from './access.ts'
import { liveStream } from './live-stream.ts'
import { document, liveParts, type Page } from './page.ts'
import type { DeviceHistories } from './timeline/device-histories.ts'

/** What the pages show. */
export interface PortalParts {
  readonly cloud: SimulatedCloud
  readonly histories: DeviceHistories
  readonly access: Access
  /** Of the pages: JavaScript. */
  readonly script: string
}

/** Puts pages under their paths: each as a document, and as the stream of its changes for whoever asks for that. */
export class Pages {
  readonly #app: Hono
  readonly #parts: PortalParts

  constructor(app: Hono, parts: PortalParts) {
    this.#app = app
    this.#parts = parts
  }

  /**
   * @param path - as in Hono, with `:names`
   * @param page - asked again for each look at the page @throws ServiceError 404 when there is nothing under the path
   */
  show(path: string, page: (context: Context) => Page): void {
    const { access, histories } = this.#parts
    this.#app.get(path, (context) => {
      if (context.req.header('accept') === 'text/event-stream') {
        return liveStream(context, {
          parts: () => liveParts(page(context), access.csrf),
          onChange: (listener) => histories.onChange(listener),
        })
      }
      return context.html(document(page(context), pathOf(context), access.csrf))
    })
  }
}

function pathOf(context: Context): string {
  return new URL(context.req.url).pathname
}
