// SPDX-License-Identifier: GPL-2.0
/*
 * The ivshmem-doorbell device as a transport.
 *
 * BAR 2 is the window, BAR 0 holds the doorbell register, MSI-X vectors are the
 * interrupts, one for each processor if there are so many. Devices of this kind
 * are used for other things too; what is not a line's window is left alone.
 */
#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include "guest.h"

#define IVSHMEM_VENDOR		0x1af4
#define IVSHMEM_DEVICE		0x1110
#define IVSHMEM_IVPOSITION	8
#define IVSHMEM_DOORBELL	12
#define IVSHMEM_BAR_REGS	0
#define IVSHMEM_BAR_WINDOW	2

struct ivshmem {
	struct circuit_transport t;
	struct pci_dev		*pdev;
	void __iomem		*regs;
	struct circuit_line	*line;
	unsigned int		irqs;	/* that were requested */
};

static void ivshmem_doorbell(struct circuit_transport *t)
{
	struct ivshmem *iv = container_of(t, struct ivshmem, t);

	writel(CIRCUIT_PEER_HOST << 16, iv->regs + IVSHMEM_DOORBELL);
}

static void ivshmem_unmap(struct circuit_transport *t)
{
	struct ivshmem *iv = container_of(t, struct ivshmem, t);

	memunmap(t->window);
	iounmap(iv->regs);
	pci_dev_put(iv->pdev);
	kfree(iv);
}

static irqreturn_t ivshmem_interrupt(int irq, void *arg)
{
	struct ivshmem *iv = arg;

	circuit_line_interrupt(iv->line);
	return IRQ_HANDLED;
}

/* Rings in uncached memory would work, a thousand times slower. */
static bool window_write_back(void *window)
{
#ifdef CONFIG_X86
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)window, &level);

	return pte && !(pte_flags(*pte) & (_PAGE_PCD | _PAGE_PWT));
#else
	return true;
#endif
}

static int ivshmem_map(struct ivshmem *iv)
{
	struct pci_dev *pdev = iv->pdev;
	u64 size = pci_resource_len(pdev, IVSHMEM_BAR_WINDOW);

	if (pci_resource_len(pdev, IVSHMEM_BAR_REGS) < IVSHMEM_DOORBELL + 4 || !size)
		return -ENODEV;
	iv->regs = ioremap(pci_resource_start(pdev, IVSHMEM_BAR_REGS),
			   pci_resource_len(pdev, IVSHMEM_BAR_REGS));
	if (!iv->regs)
		return -ENOMEM;
	iv->t.base = pci_resource_start(pdev, IVSHMEM_BAR_WINDOW);
	iv->t.size = size;
	iv->t.window = memremap(iv->t.base, size, MEMREMAP_WB);
	if (!iv->t.window)
		return -ENOMEM;
	return 0;
}

/* Once it is known that this is a line: is it one we can work with? */
static int ivshmem_check(struct ivshmem *iv)
{
	struct pci_dev *pdev = iv->pdev;
	u32 id = readl(iv->regs + IVSHMEM_IVPOSITION);

	if (iv->t.size < CIRCUIT_WINDOW_MIN) {
		dev_err(&pdev->dev, "circuit: window of %llu MiB is too small, need %llu\n",
			iv->t.size >> 20, CIRCUIT_WINDOW_MIN >> 20);
		return -EINVAL;
	}
	if (!window_write_back(iv->t.window)) {
		dev_err(&pdev->dev,
			"circuit: window at %pR is mapped uncached; a BAR above 4 GiB is needed\n",
			&pdev->resource[IVSHMEM_BAR_WINDOW]);
		return -EINVAL;
	}
	if (id != CIRCUIT_PEER_GUEST) {
		dev_err(&pdev->dev, "circuit: the device has peer id %u, not %u\n", id,
			CIRCUIT_PEER_GUEST);
		return -EINVAL;
	}
	return 0;
}

static void ivshmem_free_irqs(struct ivshmem *iv)
{
	int irq;

	while (iv->irqs) {
		irq = pci_irq_vector(iv->pdev, --iv->irqs);
		irq_update_affinity_hint(irq, NULL);
		free_irq(irq, iv);
	}
	pci_free_irq_vectors(iv->pdev);
}

static int ivshmem_request_irqs(struct ivshmem *iv)
{
	struct pci_dev *pdev = iv->pdev;
	int vectors, irq, cpu, err;
	const char *name;

	vectors = pci_alloc_irq_vectors(pdev, 1, min(num_online_cpus(), CIRCUIT_VECTORS_MAX),
					PCI_IRQ_MSIX);
	if (vectors < 0) {
		dev_err(&pdev->dev, "circuit: the device has no MSI-X vector\n");
		return vectors;
	}
	iv->t.vectors = vectors;
	while (iv->irqs < vectors) {
		irq = pci_irq_vector(pdev, iv->irqs);
		cpu = cpumask_local_spread(iv->irqs, NUMA_NO_NODE);
		name = devm_kasprintf(&pdev->dev, GFP_KERNEL, "circuit-%u", iv->irqs);
		err = name ? request_irq(irq, ivshmem_interrupt, 0, name, iv) : -ENOMEM;
		if (err) {
			ivshmem_free_irqs(iv);
			return err;
		}
		iv->irqs++;
		/* Where circuit_steer() expects it; elsewhere it does as well, but wakes others. */
		irq_set_affinity_and_hint(irq, cpumask_of(cpu));
	}
	return 0;
}

static int ivshmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ivshmem *iv;
	int err;

	err = pci_enable_device(pdev);
	if (err)
		return err;
	err = pci_request_regions(pdev, KBUILD_MODNAME);
	if (err)
		goto disable;
	err = -ENOMEM;
	iv = kzalloc(sizeof(*iv), GFP_KERNEL);
	if (!iv)
		goto regions;
	iv->pdev = pci_dev_get(pdev);
	iv->t.dev = &pdev->dev;
	iv->t.doorbell = ivshmem_doorbell;
	iv->t.unmap = ivshmem_unmap;
	err = ivshmem_map(iv);
	if (err)
		goto unmap;
	iv->line = circuit_line_attach(&iv->t);
	if (IS_ERR(iv->line)) {
		err = PTR_ERR(iv->line);
		goto unmap;
	}
	pci_set_drvdata(pdev, iv);
	err = ivshmem_check(iv);
	if (err)
		goto detach;

	pci_set_master(pdev);
	err = ivshmem_request_irqs(iv);
	if (err)
		goto detach;
	err = circuit_line_start(iv->line);
	if (err) {
		dev_err(&pdev->dev, "circuit: no line: %s (%d)\n",
			err == -EBUSY ? "this machine has one already" :
			err == -ETIMEDOUT ? "the operator does not answer" :
			err == -EPROTONOSUPPORT ? "the operator speaks another version" :
			"the operator has none for us", err);
		goto quiesce;
	}
	return 0;

quiesce:
	circuit_line_quiesce(iv->line);
	ivshmem_free_irqs(iv);
detach:
	circuit_line_detach(iv->line);	/* and with it the mapping */
	goto regions;
unmap:
	if (iv->t.window)
		memunmap(iv->t.window);
	if (iv->regs)
		iounmap(iv->regs);
	pci_dev_put(iv->pdev);
	kfree(iv);
regions:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return err;
}

static void ivshmem_remove(struct pci_dev *pdev)
{
	struct ivshmem *iv = pci_get_drvdata(pdev);

	circuit_line_quiesce(iv->line);
	ivshmem_free_irqs(iv);
	circuit_line_detach(iv->line);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

static void ivshmem_shutdown(struct pci_dev *pdev)
{
	struct ivshmem *iv = pci_get_drvdata(pdev);

	circuit_line_quiesce(iv->line);
}

static const struct pci_device_id ivshmem_ids[] = {
	{ PCI_DEVICE(IVSHMEM_VENDOR, IVSHMEM_DEVICE) },
	{}
};
MODULE_DEVICE_TABLE(pci, ivshmem_ids);

static struct pci_driver ivshmem_driver = {
	.name = KBUILD_MODNAME,
	.id_table = ivshmem_ids,
	.probe = ivshmem_probe,
	.remove = ivshmem_remove,
	.shutdown = ivshmem_shutdown,
};

/**
 * circuit_ivshmem_init - start to look for lines
 *
 * Return: 0 or a negative errno.
 */
int circuit_ivshmem_init(void)
{
	return pci_register_driver(&ivshmem_driver);
}

/**
 * circuit_ivshmem_exit - give the line up
 */
void circuit_ivshmem_exit(void)
{
	pci_unregister_driver(&ivshmem_driver);
}
