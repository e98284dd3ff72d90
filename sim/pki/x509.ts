/** `@peculiar/x509`, which needs `reflect-metadata` to be there first. */
import 'reflect-metadata'
export * from '@peculiar/x509'
