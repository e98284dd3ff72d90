import type { SimulatedCloud } from '../cloud.ts'
import { estUser } from '../est/est-server.ts'
import type { Portal } from '../portal/portal.ts'

/** Everything that a client needs to use a running cloud: what `--json` prints. */
export interface CloudDescription {
  readonly idScope: string
  /** The host that devices register at. */
  readonly provisioningHost: string
  /** `localhost:PORT`, where all services listen. */
  readonly address: string
  /** Host names of Azure, each with the address that they lead to. */
  readonly connectTo: Readonly<Record<string, string>>
  /** For `azure-iot-provisioning-service`. */
  readonly dpsConnectionString: string
  /** For `azure-iothub`. */
  readonly hubs: readonly {
    readonly name: string
    readonly hostName: string
    readonly connectionString: string
  }[]
  /** The bearer token for `https://management.azure.com`. */
  readonly managementToken: string
  /** The EST server, and who may enrol there. */
  readonly est: { readonly url: string; readonly userName: string; readonly password: string }
  /** The file with the authority to trust, PEM. */
  readonly caFile: string
  /** Lines for the hosts file, with `--own-address`. */
  readonly hostsFile?: string
  /** The address of the portal, with the secret that lets in; with `--portal`. */
  readonly portal?: string
  readonly pid: number
}

/** Describes a running cloud, with its portal if it has one. */
export function describeCloud(
  cloud: SimulatedCloud,
  caFile: string,
  portal?: Pick<Portal, 'url'>,
): CloudDescription {
  const { idScope, provisioningHost, address, connectTo, managementToken, hostsFile } = cloud
  return {
    idScope,
    provisioningHost,
    address,
    connectTo,
    dpsConnectionString: cloud.dps.connectionString,
    hubs: cloud.hubs.map(({ hostName, connectionString }) => ({
      name: hostName.replace(/\..*$/, ''),
      hostName,
      connectionString,
    })),
    managementToken,
    est: { url: cloud.estUrl, userName: estUser, password: cloud.est.password },
    caFile,
    ...(hostsFile === undefined ? {} : { hostsFile }),
    ...(portal === undefined ? {} : { portal: portal.url }),
    pid: process.pid,
  }
}

/**
 * The same for people. What is to be pasted stands on lines of its own: connection strings are long, and a line that
 * is broken or indented cannot be copied whole.
 */
export function inWords(description: CloudDescription): string {
  const { idScope, provisioningHost, address, connectTo, dpsConnectionString, hubs, caFile } = description
  const { hostsFile, est, portal } = description
  const lines = [
    'A local Azure IoT is ready.',
    '',
    `  id scope           ${idScope}`,
    `  DPS host           ${provisioningHost}`,
    `  address            ${address}`,
    `  trust (PEM)        ${caFile}`,
    '',
    ...(portal === undefined ? [] : ['Portal, to be opened in a browser', portal, '']),
    'connectTo',
    JSON.stringify(connectTo),
    '',
    'DPS, service API',
    dpsConnectionString,
    ...hubs.flatMap(({ name, connectionString }) => ['', `Hub ${name}`, connectionString]),
    '',
    'EST (RFC 7030), user and password',
    est.url,
    `${est.userName}:${est.password}`,
    '',
    ...(hostsFile === undefined
      ? []
      : ['For the hosts file, as long as programs are to come here', ...hostsFile.trimEnd().split('\n'), '']),
    'Node processes trust it with',
    `export NODE_EXTRA_CA_CERTS=${JSON.stringify(caFile)}`,
    '',
    'Ctrl-C ends it.',
  ]
  return `${lines.join('\n')}\n`
}
