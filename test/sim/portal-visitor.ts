import { request, type IncomingHttpHeaders } from 'node:http'
import { onTestFinished } from 'vitest'
import { Portal, SimulatedCloud, type CloudOptions } from 'leafkeeper-sim'
import { portalAssets } from '../support/portal-assets.ts'

/** What a portal has answered. */
export interface PortalAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** What is asked of a portal. */
export interface PortalQuestion {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Asks the portal as any program of this machine can. `fetch` would not send every Host header. */
export async function ask(url: string, question: PortalQuestion = {}): Promise<PortalAnswer> {
  const { method = 'GET', headers = {}, body } = question
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0, headers: received } = response
        resolve({ status: statusCode, headers: received, text: Buffer.concat(chunks).toString() })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** A cloud with its portal, until the test ends. */
export async function openPortal(
  options: CloudOptions = {},
): Promise<{ readonly cloud: SimulatedCloud; readonly portal: Portal; readonly origin: string }> {
  const cloud = await SimulatedCloud.start({ hubs: ['hub-a'], ...options })
  onTestFinished(() => cloud.close())
  const portal = await Portal.start(cloud, { assets: portalAssets() })
  onTestFinished(() => portal.close())
  return { cloud, portal, origin: new URL(portal.url).origin }
}

/** Somebody who has opened the portal by its whole address. */
export class Visitor {
  readonly cookie: string
  readonly #origin: string

  private constructor(origin: string, cookie: string) {
    this.#origin = origin
    this.cookie = cookie
  }

  static async enter({ url }: Portal): Promise<Visitor> {
    const { headers } = await ask(url)
    const [cookie = ''] = headers['set-cookie'] ?? []
    return new Visitor(new URL(url).origin, cookie.split(';')[0] ?? '')
  }

  async see(path: string): Promise<PortalAnswer> {
    return ask(`${this.#origin}${path}`, { headers: { cookie: this.cookie } })
  }
}
