import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type ServerType } from '@hono/node-server'
import type { SimulatedCloud } from '../cloud.ts'
import { loopback } from '../listener.ts'
import { Access } from './access.ts'
import { DeviceHistories } from './timeline/device-histories.ts'
import { portalApp } from './portal-app.ts'

/** How a portal is started. */
export interface PortalOptions {
  /** The port of 127.0.0.1. Default: a free one. */
  readonly port?: number
  /** The folder of the page's compiled script. Default: where the build of this package has put it. */
  readonly assets?: URL
}

/**
 * The web page of a cloud: the enrollment screens of the Azure portal, its hubs and devices, and what happens, as it
 * happens. What devices do is remembered from its start on.
 *
 * @example
 * ```ts
 * const portal = await Portal.start(cloud)
 * console.log(`Open ${portal.url}`)
 * await portal.close()
 * ```
 */
export class Portal {
  /** The address to open, with the secret that lets in: who has it can do everything here. */
  readonly url: string
  readonly #server: ServerType
  readonly #histories: DeviceHistories

  private constructor(url: string, server: ServerType, histories: DeviceHistories) {
    this.url = url
    this.#server = server
    this.#histories = histories
  }

  /** Starts a portal on the loopback address. @throws Error that names the address when it cannot be had */
  static async start(cloud: SimulatedCloud, options: PortalOptions = {}): Promise<Portal> {
    const { port = 0, assets = new URL('page/', import.meta.url) } = options
    const script = await readFile(new URL('live.js', assets), 'utf8')
    const histories = new DeviceHistories(cloud)
    const listening = { port }
    const access = new Access(() => listening.port)
    const server = createAdaptorServer({ fetch: portalApp({ cloud, histories, access, script }).fetch })
    server.listen(port, loopback)
    await once(server, 'listening').catch((cause: unknown) => {
      histories.close()
      throw new Error(`The portal cannot listen on ${loopback}:${port}: ${String(cause)}`, { cause })
    })
    listening.port = (server.address() as AddressInfo).port
    return new Portal(`http://${loopback}:${listening.port}/open?token=${access.token}`, server, histories)
  }

  /** Ends it, with every page that is open. Resolves when the port is free; may be called twice. */
  async close(): Promise<void> {
    this.#histories.close()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    if ('closeAllConnections' in this.#server) this.#server.closeAllConnections()
    await closed
  }
}
