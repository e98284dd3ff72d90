import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Configuration } from '../../src/config/configuration.ts'
import { temporaryFolder } from './temporary-folder.ts'
import type { World } from './world.ts'

/** A gateway as its owner sets it up: a folder with a configuration and what it names. */
export interface Gateway {
  readonly folder: string
  /** The configuration: `leafkeeper.json`. */
  readonly file: string
  readonly registrationId: string
  /** What stands in the file. */
  readonly configuration: Configuration
  /** Writes the configuration anew, with these members in place of the old ones. */
  configure(changes: Partial<Configuration>): Promise<void>
}

/** An authority of the owner's, as a program: what a leaf has to be that DPS and hubs let in. */
const issueProgram = `#!/bin/sh
set -e
folder=$(dirname "$0")
openssl x509 -req -CA "$folder/root.pem" -CAkey "$folder/root.key" -days 30 -extfile "$folder/leaf.cnf"
`

const leafExtensions = `basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
`

/** Sets a gateway up for a world, whose root may vouch for it at DPS. */
export async function createGateway(world: World, registrationId: string): Promise<Gateway> {
  const { hsm, cloud, root } = world
  const folder = await temporaryFolder()
  const write = (name: string, text: string, mode = 0o600): Promise<void> =>
    writeFile(join(folder, name), text, { mode })
  const { privateKey, certificate } = root.stored()
  await write('pin', `${hsm.pin.reveal()}\n`)
  await write('network.pem', cloud.trustedAuthorities)
  await write('root.pem', certificate)
  await write('root.key', privateKey)
  await write('leaf.cnf', leafExtensions)
  await write('issue.sh', issueProgram, 0o700)
  cloud.dps.groups.put({ enrollmentGroupId: registrationId, attestation: { primary: certificate } })
  const configuration: Configuration = {
    registrationId,
    stateFolder: 'state',
    hsm: {
      module: hsm.module,
      environment: { SOFTHSM2_CONF: join(hsm.folder, 'softhsm2.conf') },
      token: { label: hsm.label },
      pin: { file: 'pin' },
    },
    provisioning: { host: cloud.provisioningHost, idScope: cloud.idScope },
    network: { trustedAuthorities: { file: 'network.pem' }, connectTo: cloud.connectTo },
    issuer: { kind: 'command', program: './issue.sh' },
  }
  const file = join(folder, 'leafkeeper.json')
  const configure = (changes: Partial<Configuration>): Promise<void> =>
    write('leafkeeper.json', JSON.stringify({ ...configuration, ...changes }, null, 2))
  await configure({})
  return { folder, file, registrationId, configuration, configure }
}
